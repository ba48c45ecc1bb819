"""A storage that is divided between branches of the state machine, for real: whoever is killed, one whole archive comes of it."""

import base64
import hashlib
import json
import os
import random
import signal
import tarfile
import threading

import pytest
from awscrt.checksums import crc64nvme
from local.stack import Stack
from platform_under_test import Platform
from stack_processes import functions

MIB = 1024 * 1024
# Read and copied, in the order of their keys, so that stretches end behind one of either.
SIZES = {"a": 16 * 1024, "b": 3 * MIB, "c": 11 * MIB + 1, "d": 24 * MIB}
# A state is tried five times, so that four kills end none of them, whoever they hit; and one of them at most before several work.
KILLS, KILLS_ALONE = 4, 1


@pytest.fixture(scope="module")
def dividing(tmp_path_factory):
    """A platform whose worker divides whatever it is given. Jobs that are tried again wait a fiftieth of the time."""
    stack = Stack(tmp_path_factory.mktemp("dividing"))
    with stack.start(SFN_WAIT_SCALE="0.02"):
        stack.deploy(parameters={"MediaSeconds": "0"})
        yield Platform(stack, server=None)


def files(seed):
    """A few hundred small ones, and large ones that S3 copies."""
    made = random.Random(seed)
    counts = {"a": 300, "b": 12, "c": 6, "d": 2}
    return {
        f"media/{number:03}/{kind}.bin": made.randbytes(SIZES[kind]) for kind, count in counts.items() for number in range(count)
    }


class Killer(threading.Thread):
    """Kills workers of one stack at random moments, until told to stop."""

    def __init__(self, platform, seed):
        super().__init__(daemon=True)
        self.stack = platform.stack.running.pid
        self.moments = random.Random(seed)
        self.stop = threading.Event()
        self.killed = 0

    def run(self):
        alone = 0
        while self.killed < KILLS and not self.stop.wait(self.moments.uniform(0.05, 0.8)):
            workers = functions("Worker", self.stack)
            alone += len(workers) == 1
            if not workers or (len(workers) == 1 and alone > KILLS_ALONE):
                continue
            try:
                os.kill(self.moments.choice(workers), signal.SIGKILL)
                self.killed += 1
            except ProcessLookupError:
                pass


def check_archive(path, expected, prefix):
    """Every file as it is in the bucket, where the manifest says, with the checksum it says."""
    with tarfile.open(path) as archive:
        members = {member.name: member for member in archive.getmembers()}
        assert list(members)[-1] == "MANIFEST.jsonl"
        header, *lines = map(json.loads, archive.extractfile("MANIFEST.jsonl").read().splitlines())
        content = {name: archive.extractfile(member).read() for name, member in members.items() if name != "MANIFEST.jsonl"}
    assert {prefix + name: hashlib.sha256(found).digest() for name, found in content.items()} == {
        key: hashlib.sha256(body).digest() for key, body in expected.items()
    }
    assert (header["files"], header["bytes"], header["skipped"]) == (len(expected), sum(map(len, expected.values())), 0)
    assert [line["key"] for line in lines] == sorted(name.removeprefix(prefix) for name in expected)
    with open(path, "rb") as tar:
        for line in lines:
            body = expected[prefix + line["key"]]
            tar.seek(line["offset"])
            assert tar.read(line["size"]) == body, line
            sums = {"sha256": hashlib.sha256(body).hexdigest(), "crc64nvme": base64.b64encode(crc64nvme(body).to_bytes(8, "big")).decode()}
            assert any(line.get(name) == value for name, value in sums.items()), line


@pytest.mark.parametrize("kills", [False, True], ids=["undisturbed", "with workers killed"])
def test_branches_make_one_whole_archive(dividing, tmp_path, kills):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    application = "killed" if kills else "quiet"
    bucket, expected = dividing.bucket(f"{application}-media"), files(seed)
    for key, body in expected.items():
        dividing.s3.put_object(Bucket=bucket, Key=key, Body=body)
    dividing.register(application, tmp_path, dividing.storage(bucket, "media/"))

    id = dividing.ask("backup", "create", application, "--detach")["id"]
    killer = Killer(dividing, seed)
    if kills:
        killer.start()
    try:
        backup = dividing.ended(application, id)
    finally:
        killer.stop.set()
        if kills:
            killer.join()
    assert backup["state"] == "succeeded", backup["failure"]
    assert "MapStateEntered" in dividing.events(id), "it was not divided"
    if kills:
        failed = dividing.failed_calls(id)
        assert killer.killed and failed, f"{killer.killed} killed, {failed} calls failed"

    left = dividing.left_of(application)
    prefix = f"applications/{application}/{id}/"
    assert {name.removeprefix(prefix) for name in left} == {"backup.json", "README.txt", "MEDIA/media.tar", "MEDIA/media.manifest.jsonl.zst"}
    report = dividing.ask("backup", "download", application, "latest", "--to", str(tmp_path))
    check_archive(report["files"][0]["path"], expected, "media/")
