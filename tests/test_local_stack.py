"""The local stack: it starts once, keeps its state, is stopped gently, notices its death, and answers as AWS does."""

import base64
import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from awscrt.checksums import crc64nvme
from botocore.exceptions import ClientError

from local import rds
from local.machine import free_port, is_free, start_time
from local.postgres import Postgres
from local.stack import Running, Stack, StackError

ROOT = Path(__file__).resolve().parent.parent
MIB = 1024 * 1024


def command(*arguments, state):
    return [sys.executable, str(ROOT / "local" / "stack.py"), *arguments, "--state", str(state)]


def test_it_starts_once_keeps_its_state_and_stops(tmp_path):
    stack = Stack(tmp_path).start()
    try:
        first = stack.running
        assert Stack(tmp_path).start().running == first
        stack.client("s3").create_bucket(
            Bucket="kept", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        stack.client("s3").put_object(Bucket="kept", Key="object", Body=b"bytes")
        assert stack.stop() and not stack.stop()
        assert start_time(first.pid) != first.started
        stack.start()
        assert stack.running.port == first.port, "addresses stay good"
        assert stack.client("s3").get_object(Bucket="kept", Key="object")["Body"].read() == b"bytes"
    finally:
        stack.stop()


@pytest.mark.parametrize("end", [Stack.stop, Stack.kill])
def test_no_instance_of_rds_outlives_the_stack(tmp_path, end):
    stack = Stack(tmp_path).start()
    try:
        with Postgres() as server:
            rds.register(stack.endpoint, "db", "source", "postgres", server)
            client = stack.client("rds")

            def until_available(describe, kind, status):
                while describe()[kind][0][status] != "available":
                    time.sleep(0.05)

            client.create_db_snapshot(DBInstanceIdentifier="source", DBSnapshotIdentifier="copy")
            until_available(lambda: client.describe_db_snapshots(DBSnapshotIdentifier="copy"), "DBSnapshots", "Status")
            client.restore_db_instance_from_db_snapshot(
                DBInstanceIdentifier="copy", DBSnapshotIdentifier="copy", DBInstanceClass="db.t4g.micro"
            )
            until_available(lambda: client.describe_db_instances(DBInstanceIdentifier="copy"), "DBInstances", "DBInstanceStatus")
            folder = Path((tmp_path / "state" / "rds" / rds.NOTED).read_text())
            port = client.describe_db_instances(DBInstanceIdentifier="copy")["DBInstances"][0]["Endpoint"]["Port"]
            assert folder.exists() and not is_free(port)
            end(stack)
            assert not folder.exists() and is_free(port)
            # The source is somebody else's.
            assert server.run_sql("SELECT 1") == "1"
    finally:
        stack.stop()


@pytest.mark.parametrize("end", [Stack.stop, Stack.kill])
def test_no_function_outlives_the_stack(tmp_path, end):
    stack = Stack(tmp_path).start()
    port = stack.running.port
    try:
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w") as archive:
            # Never asks for work: the call for it stays open, and the function alive.
            archive.writestr("bootstrap", f"#!/bin/sh\necho $$ > {tmp_path}/pid\nwhile :; do sleep 1; done\n")
        client = stack.client("lambda")
        client.create_function(
            FunctionName="lasting",
            Runtime="provided.al2023",
            Handler="bootstrap",
            Role="arn:aws:iam::000000000000:role/any",
            Timeout=60,
            Code={"ZipFile": package.getvalue()},
        )
        client.invoke(FunctionName="lasting", InvocationType="Event")
        deadline = time.monotonic() + 30
        while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        pid = int((tmp_path / "pid").read_text())
        started = start_time(pid)
        assert started
        end(stack)
        deadline = time.monotonic() + 10
        while start_time(pid) == started and time.monotonic() < deadline:
            time.sleep(0.05)
        assert start_time(pid) != started
        assert is_free(port)
    finally:
        stack.stop()


def test_a_stack_that_died_is_noticed_and_can_be_started_again(tmp_path):
    stack = Stack(tmp_path).start()
    port = stack.running.port
    stack.kill()
    assert is_free(port), "nothing goes on answering"
    with pytest.raises(StackError, match="has died"):
        _ = stack.endpoint
    result = subprocess.run(command("status", state=tmp_path), capture_output=True, text=True)
    assert (result.returncode, "has died" in result.stderr) == (1, True)
    with stack:
        assert stack.client("s3").list_buckets()["Buckets"] == []


def test_a_process_that_took_over_the_id_is_left_alone(tmp_path):
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        stack = Stack(tmp_path)
        stack._write("process.json", {"pid": stranger.pid, "started": "1", "port": free_port()})
        assert stack.running is None and not stack.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_stack_that_does_not_run_says_what_to_do(tmp_path):
    for arguments, status, says in (("status", 1, "make up"), ("down", 0, "was not running")):
        result = subprocess.run(command(arguments, state=tmp_path), capture_output=True, text=True)
        assert result.returncode == status and says in result.stdout + result.stderr


def test_a_taken_port_is_refused(tmp_path):
    with Stack(tmp_path / "one") as stack:
        with pytest.raises(StackError, match="is taken"):
            Stack(tmp_path / "two", port=stack.running.port).start()


def test_an_interrupted_start_leaves_nothing_running(tmp_path):
    starting = subprocess.Popen(command("up", state=tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    record = tmp_path / "process.json"
    deadline = time.monotonic() + 30
    while not record.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    running = Running(**Stack(tmp_path)._read("process.json"))
    assert running.alive
    starting.send_signal(signal.SIGINT)
    assert starting.wait(60) == 130
    assert not running.alive and not record.exists()


def test_nothing_of_the_users_own_aws_settings_reaches_the_stack(monkeypatch, bare_stack):
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "secret")
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN"} & bare_stack.env.keys()
    assert bare_stack.env["AWS_CONFIG_FILE"] == os.devnull


# What the gateway puts right. Each of these fails on ministack alone.


def encoded(checksum: int) -> str:
    return base64.b64encode(checksum.to_bytes(8, "big")).decode()


class Upload:
    """A multipart upload as the worker makes it, of two parts."""

    def __init__(self, stack, key="artifact"):
        self.s3, self.key = stack.client("s3"), key
        self.kms_key = stack.client("kms").create_key()["KeyMetadata"]["Arn"]
        if "uploads" not in {bucket["Name"] for bucket in self.s3.list_buckets()["Buckets"]}:
            self.s3.create_bucket(
                Bucket="uploads", CreateBucketConfiguration={"LocationConstraint": stack.region}
            )
        self.bodies = [os.urandom(8 * MIB), b"the end"]
        self.created = self.s3.create_multipart_upload(
            Bucket="uploads",
            Key=key,
            StorageClass="STANDARD_IA",
            ServerSideEncryption="aws:kms",
            SSEKMSKeyId=self.kms_key,
            BucketKeyEnabled=True,
            ChecksumAlgorithm="CRC64NVME",
            ChecksumType="FULL_OBJECT",
        )
        self.parts = []
        for number, body in enumerate(self.bodies, 1):
            checksum = encoded(crc64nvme(body))
            answer = self.s3.upload_part(
                **self.named, PartNumber=number, Body=body, ChecksumCRC64NVME=checksum
            )
            self.parts.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumCRC64NVME": checksum})

    @property
    def named(self):
        return {"Bucket": "uploads", "Key": self.key, "UploadId": self.created["UploadId"]}

    @property
    def checksum(self):
        return encoded(crc64nvme(b"".join(self.bodies)))

    def complete(self, checksum):
        return self.s3.complete_multipart_upload(
            **self.named,
            MultipartUpload={"Parts": self.parts},
            ChecksumCRC64NVME=checksum,
            ChecksumType="FULL_OBJECT",
            MpuObjectSize=sum(map(len, self.bodies)),
        )


def test_a_multipart_upload_has_the_checksum_of_the_whole_object(bare_stack):
    upload = Upload(bare_stack)
    assert upload.created["ChecksumType"] == "FULL_OBJECT"
    for _ in ("the answer", "the same answer, when it is asked for again"):
        answer = upload.complete(upload.checksum)
        assert (answer["ChecksumCRC64NVME"], answer["ChecksumType"]) == (upload.checksum, "FULL_OBJECT")
    stored = upload.s3.head_object(Bucket="uploads", Key=upload.key, ChecksumMode="ENABLED")
    wanted = {
        "ChecksumCRC64NVME": upload.checksum,
        "ChecksumType": "FULL_OBJECT",
        "StorageClass": "STANDARD_IA",
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": upload.kms_key,
        "BucketKeyEnabled": True,
    }
    assert {name: stored.get(name) for name in wanted} == wanted


def test_a_wrong_checksum_of_the_whole_is_refused_and_nothing_is_stored(bare_stack):
    upload = Upload(bare_stack, "refused")
    with pytest.raises(ClientError, match="BadDigest"):
        upload.complete(encoded(crc64nvme(b"another object")))
    with pytest.raises(ClientError, match="404"):
        upload.s3.head_object(Bucket="uploads", Key="refused")


def test_numbers_that_are_left_out_are_refused(bare_stack):
    upload = Upload(bare_stack, "gap")
    checksum = encoded(crc64nvme(upload.bodies[1]))
    answer = upload.s3.upload_part(**upload.named, PartNumber=3, Body=upload.bodies[1], ChecksumCRC64NVME=checksum)
    upload.parts[1] |= {"PartNumber": 3, "ETag": answer["ETag"]}
    with pytest.raises(ClientError, match="InvalidPartOrder"):
        upload.complete(upload.checksum)
    with pytest.raises(ClientError, match="404"):
        upload.s3.head_object(Bucket="uploads", Key=upload.key)


def test_a_part_that_is_copied_has_the_checksum_of_what_was_copied(bare_stack):
    upload = Upload(bare_stack, "copied")
    upload.s3.put_object(Bucket="uploads", Key="source", Body=b"before" + upload.bodies[0] + b"after")
    answer = upload.s3.upload_part_copy(
        **upload.named, PartNumber=1, CopySource="uploads/source", CopySourceRange=f"bytes=6-{6 + 8 * MIB - 1}"
    )["CopyPartResult"]
    assert answer["ChecksumCRC64NVME"] == upload.parts[0]["ChecksumCRC64NVME"]
    upload.parts[0]["ETag"] = answer["ETag"]
    assert upload.complete(upload.checksum)["ChecksumCRC64NVME"] == upload.checksum


def test_an_object_has_the_tags_that_it_came_with_and_no_others(bare_stack):
    s3 = bare_stack.client("s3")
    s3.create_bucket(Bucket="tagged", CreateBucketConfiguration={"LocationConstraint": bare_stack.region})

    def tags():
        return {tag["Key"]: tag["Value"] for tag in s3.get_object_tagging(Bucket="tagged", Key="a")["TagSet"]}

    def upload(**named):
        begun = s3.create_multipart_upload(Bucket="tagged", Key="a", **named)
        named = {"Bucket": "tagged", "Key": "a", "UploadId": begun["UploadId"]}
        part = s3.upload_part(**named, PartNumber=1, Body=b"bytes")
        s3.complete_multipart_upload(**named, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})

    s3.put_object(Bucket="tagged", Key="a", Body=b"bytes", Tagging="kind=photo")
    assert tags() == {"kind": "photo"}
    s3.put_object(Bucket="tagged", Key="a", Body=b"bytes")
    assert tags() == {}
    upload(Tagging="kind=a%20film&by=")
    assert tags() == {"kind": "a film", "by": ""}
    upload()
    assert tags() == {}


def test_the_checksum_survives_a_restart(tmp_path):
    with Stack(tmp_path) as stack:
        upload = Upload(stack)
        upload.complete(upload.checksum)
    with Stack(tmp_path) as stack:
        stored = stack.client("s3").head_object(Bucket="uploads", Key=upload.key, ChecksumMode="ENABLED")
    assert (stored["ChecksumCRC64NVME"], stored["ChecksumType"]) == (upload.checksum, "FULL_OBJECT")



def test_a_version_is_read_in_ranges_and_under_the_name_that_is_asked_for(bare_stack):
    s3 = bare_stack.client("s3")
    s3.create_bucket(Bucket="versioned", CreateBucketConfiguration={"LocationConstraint": bare_stack.region})
    s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket="versioned", Key="a", Body=b"0123456789")["VersionId"]
    answer = s3.get_object(
        Bucket="versioned", Key="a", VersionId=version, Range="bytes=2-4", ResponseContentDisposition="attachment"
    )
    assert (answer["Body"].read(), answer["ContentRange"]) == (b"234", "bytes 2-4/10")
    assert (answer["ContentDisposition"], answer["VersionId"]) == ("attachment", version)
    # Of an older version, too.
    s3.put_object(Bucket="versioned", Key="a", Body=b"another")
    answer = s3.get_object(Bucket="versioned", Key="a", VersionId=version, Range="bytes=8-20")
    assert (answer["Body"].read(), answer["ContentRange"]) == (b"89", "bytes 8-9/10")
