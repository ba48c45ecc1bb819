"""`holdfast archive` of a bucket: one tar in a file or in a bucket, with its manifest beside it, or nothing."""

import json
import os
import signal
import subprocess
import tarfile
import time

import pytest

from local.built import TRIED

MIB = 1024 * 1024
FILES = {
    "m/a.txt": b"small",
    "m/empty": b"",
    "m/folder/": b"",
    "m/folder/b c+&?\u00e9.bin": os.urandom(3 * MIB + 7),
    "m/large.bin": os.urandom(24 * MIB + 1),
    "m/larger.bin": os.urandom(31 * MIB + 511),
    "m/line\nfeed": b"odd",
    "m/" + "deep/" * 30 + "name": b"long",
    "m/../up": b"not a path",
    "m/zlarge.bin": os.urandom(10 * MIB),
    "other": b"not below the prefix",
}
BELOW = {key.removeprefix("m/"): content for key, content in FILES.items() if key.startswith("m/")}


@pytest.fixture(scope="module")
def s3(bare_stack):
    client = bare_stack.client("s3")
    for name in ("media", "archives"):
        client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": bare_stack.region})
    client.put_bucket_versioning(Bucket="archives", VersioningConfiguration={"Status": "Enabled"})
    for key, content in FILES.items():
        client.put_object(Bucket="media", Key=key, Body=content, ContentType="text/x-test")
    return client


def run(stack, folder, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TRIED.holdfast, "archive", *arguments], cwd=folder, env=stack.env, check=False, capture_output=True, text=True
    )


def left_in(s3, bucket: str = "archives") -> tuple[list[str], list[str]]:
    """Keys of the versions of all objects, and of uploads that are open."""
    found = s3.list_object_versions(Bucket=bucket).get("Versions", [])
    uploads = s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return [version["Key"] for version in found], [upload["Key"] for upload in uploads]


def manifest_of(tar) -> list[dict]:
    with tarfile.open(tar) as archive:
        return [json.loads(line) for line in archive.extractfile("MANIFEST.jsonl").read().splitlines()]


def check(tar, manifest, folder) -> None:
    """The archive has the contents of the bucket, by the manifest beside it, Python's tarfile and GNU tar."""
    lines = manifest_of(tar)
    beside = subprocess.run(["zstd", "-dc", manifest], check=True, capture_output=True).stdout
    assert [json.loads(line) for line in beside.splitlines()] == lines
    described = {line["key"]: line for line in lines[1:]}
    assert described.keys() == BELOW.keys()
    unpacked = folder / "unpacked"
    unpacked.mkdir()
    said = subprocess.run(["tar", "xf", tar, "-C", unpacked], check=True, capture_output=True, text=True)
    assert said.stderr == ""
    with tarfile.open(tar) as archive:
        for key, content in BELOW.items():
            member = archive.getmember(described[key]["member"].rstrip("/"))
            if member.isfile():
                assert archive.extractfile(member).read() == content
                assert (unpacked / member.name).read_bytes() == content
                assert tar.read_bytes()[described[key]["offset"] :][: len(content)] == content


def test_a_file_and_an_object_hold_the_same_archive(bare_stack, s3, tmp_path):
    to_file = run(bare_stack, tmp_path, "s3://media/m/", "--output", "media.tar", "--json")
    assert (to_file.returncode, to_file.stderr) == (0, "")
    report = json.loads(to_file.stdout)
    tar = tmp_path / "media.tar"
    assert sorted(os.listdir(tmp_path)) == ["media.tar", "media.tar.manifest.jsonl.zst"]
    assert (tar.stat().st_size, tar.stat().st_mode & 0o777) == (report["bytes"], 0o600)
    assert (report["files"], report["skipped_count"]) == (len(BELOW) - 1, 0)
    assert report["file_bytes"] == sum(map(len, BELOW.values()))
    check(tar, tmp_path / report["manifest"], tmp_path)

    to_bucket = run(bare_stack, tmp_path, "s3://media/m/", "--output", "s3://archives/x/m.tar", "--json")
    assert (to_bucket.returncode, to_bucket.stderr) == (0, "")
    again = json.loads(to_bucket.stdout)
    assert again["manifest"] == "s3://archives/x/m.tar.manifest.jsonl.zst"
    assert left_in(s3) == (["x/m.tar", "x/m.tar.manifest.jsonl.zst"], [])
    folder = tmp_path / "downloaded"
    folder.mkdir()
    for name in ("m.tar", "m.tar.manifest.jsonl.zst"):
        s3.download_file("archives", f"x/{name}", str(folder / name))
    check(folder / "m.tar", folder / "m.tar.manifest.jsonl.zst", folder)

    # The same bytes, but for when they were taken.
    first, second = manifest_of(tar), manifest_of(folder / "m.tar")
    assert first[0].pop("taken_at") != second[0].pop("taken_at")
    assert first == second
    end = max(line["offset"] + line["size"] for line in first[1:])
    assert tar.read_bytes()[:end] == (folder / "m.tar").read_bytes()[:end]

    for arguments in (["--output", "media.tar"], ["--output", "s3://archives/x/m.tar"]):
        refused = run(bare_stack, tmp_path, "s3://media/m/", *arguments)
        assert refused.returncode == 1 and "is there already" in refused.stderr, refused.stderr
        assert run(bare_stack, tmp_path, "s3://media/m/", *arguments, "--overwrite").returncode == 0
    assert sorted(os.listdir(tmp_path)) == ["downloaded", "media.tar", "media.tar.manifest.jsonl.zst", "unpacked"]
    for version in s3.list_object_versions(Bucket="archives")["Versions"]:
        s3.delete_object(Bucket="archives", Key=version["Key"], VersionId=version["VersionId"])


def test_what_is_not_there_is_said(bare_stack, s3, tmp_path):
    empty = run(bare_stack, tmp_path, "s3://media/nothing/", "--output", "empty.tar")
    assert empty.returncode == 0 and "there are no files at s3://media/nothing/" in empty.stderr
    assert manifest_of(tmp_path / "empty.tar")[0]["files"] == 0
    missing = run(bare_stack, tmp_path, "s3://nobodys-media/", "--output", "missing.tar")
    assert missing.returncode == 1 and "there is no bucket nobodys-media" in missing.stderr
    missing = run(bare_stack, tmp_path, "s3://media/m/", "--output", "s3://nobodys-archives/m.tar")
    assert missing.returncode == 1 and "there is no bucket nobodys-archives" in missing.stderr
    itself = run(bare_stack, tmp_path, "s3://media/m/", "--output", "s3://media/m/m.tar")
    assert itself.returncode == 2 and "one of the files that it archives" in itself.stderr
    assert sorted(os.listdir(tmp_path)) == ["empty.tar", "empty.tar.manifest.jsonl.zst"]
    assert left_in(s3) == ([], [])


@pytest.mark.parametrize("output", ["media.tar", "s3://archives/stopped.tar"])
def test_ctrl_c_leaves_nothing(bare_stack, s3, tmp_path, output):
    command = [TRIED.holdfast, "archive", "s3://media/", "--output", output]
    running = subprocess.Popen(command, cwd=tmp_path, env=bare_stack.env, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 20
    while not (os.listdir(tmp_path) or left_in(s3)[1]):
        assert time.monotonic() < deadline, "it never began"
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    said = running.communicate(timeout=30)[1]
    assert running.returncode == 130 and "nothing is left" in said, said
    assert os.listdir(tmp_path) == []
    assert left_in(s3) == ([], [])
