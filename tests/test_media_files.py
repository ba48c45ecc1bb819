"""A storage whose files change while it is backed up, and single files out of an archive: on the deployed stack."""

import base64
import hashlib
import json
import random
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from awscrt.checksums import crc64nvme
from churn import content, is_one_version

from local.built import TRIED

MIB = 1024 * 1024
# Read into the answer, given as a URL, and copied by S3; and keys that no path can have.
FILES = {
    "photos/a b.jpg": b"small" * 100,
    "photos/\N{SNOWMAN}/c.jpg": b"",
    "photos//..": b"no path",
    "line\nbreak": b"two lines",
    "video.mp4": random.Random(5).randbytes(12 * MIB + 1),
    "zip.bin": random.Random(6).randbytes(5 * MIB),
}


@pytest.fixture(scope="module")
def archived(platform, tmp_path_factory):
    bucket = platform.bucket("single-media", {f"media/{key}": body for key, body in FILES.items()})
    platform.register("single", tmp_path_factory.mktemp("single"), platform.storage(bucket, "media/"))
    return platform.ask("backup", "create", "single")


def test_the_files_of_an_archive_are_listed(platform, archived):
    items = platform.ask("backup", "files", "single", "latest")["items"]
    assert [(item["key"], item["size"]) for item in items] == sorted((key, len(body)) for key, body in FILES.items())
    below = platform.ask("backup", "files", "single", archived["id"], "--prefix", "photos/", "--limit", "2")["items"]
    assert [item["key"] for item in below] == sorted(key for key in FILES if key.startswith("photos/"))[:2]


@pytest.mark.parametrize("key", FILES)
def test_one_file_is_taken_out(platform, archived, tmp_path, key):
    target = tmp_path / "taken"
    said = platform.run("backup", "get", "single", "latest", key, "--to", str(target))
    assert said.code == 0, said.err
    assert target.read_bytes() == FILES[key]
    command = [TRIED.holdfast, "--api", platform.stack.api_url, "backup", "cat", "single", archived["id"], key]
    assert subprocess.run(command, env=platform.stack.env, capture_output=True, check=True).stdout == FILES[key]


def test_a_file_that_is_not_there_is_not_found(platform, archived, tmp_path):
    said = platform.run("backup", "get", "single", "latest", "photos/none.jpg", "--to", str(tmp_path / "none"))
    assert said.code != 0 and "photos/none.jpg" in said.err
    assert not (tmp_path / "none").exists()


def check(path: Path) -> Counter:
    """Nothing of two versions, and what the manifest says of it; what it has, by kinds."""
    with tarfile.open(path) as archive:
        members = {member.name: archive.extractfile(member).read() for member in archive.getmembers()}
    header, *lines = map(json.loads, members.pop("MANIFEST.jsonl").splitlines())
    kinds = Counter(line["type"] for line in lines)
    assert (header["files"], header["skipped"]) == (kinds["file"], kinds["skipped"])
    assert {line["member"] for line in lines if line["type"] == "file"} == members.keys()
    for line in lines:
        if line["type"] == "skipped":
            assert line["reason"] == "deleted during the backup"
            continue
        found = members[line["member"]]
        assert is_one_version("media/" + line["key"], found), f"{line['key']}: {found[:80]}"
        sums = {"sha256": hashlib.sha256(found).hexdigest(), "crc64nvme": base64.b64encode(crc64nvme(found).to_bytes(8, "big")).decode()}
        assert any(line.get(name) == value for name, value in sums.items()), line
    return kinds


def test_files_that_change_meanwhile_stand_in_one_version(platform, tmp_path):
    sizes = {f"media/{number:03}": 20_000 for number in range(150)} | {f"media/{number:03}-large": 11 * MIB for number in range(0, 150, 25)}
    bucket = platform.bucket("churning-media", {key: content(key, 1, size) for key, size in sizes.items()})
    platform.register("churning", tmp_path, platform.storage(bucket, "media/"))
    keys, said = tmp_path / "keys", tmp_path / "said"
    keys.write_text("".join(f"{key} {size}\n" for key, size in sizes.items()))
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    with open(said, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, Path(__file__).parent / "churn.py", bucket, keys, str(seed)], env=platform.stack.env, stdout=output
        )
    try:
        for _ in range(3):
            before = said.stat().st_size
            backup = platform.ask("backup", "create", "churning")
            assert backup["state"] == "succeeded", backup["failure"]
            assert process.poll() is None and said.stat().st_size > before, "nothing has changed meanwhile"
            report = platform.ask("backup", "download", "churning", backup["id"], "--to", str(tmp_path))
            kinds = check(Path(report["files"][0]["path"]))
            assert kinds["file"] > 50, kinds
    finally:
        process.terminate()
        process.wait()
    assert set(said.read_text().split()) == {"replaced", "deleted", "added"}
