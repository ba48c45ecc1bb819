"""Jobs while calls fail, connections break and workers die; and that the auditor who then looks would see it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "demo"))

from chaos import auditor  # noqa: E402
from chaos.application import OWNER, Application  # noqa: E402
from chaos.auditor import Auditor  # noqa: E402
from chaos.lane import Lane  # noqa: E402
from chaos.load import load  # noqa: E402
from chaos.plan import Plan, Shape, Step  # noqa: E402
from chaos.records import Records  # noqa: E402
from chaos.run import run, summary  # noqa: E402
from chaos.settling import Settling  # noqa: E402
from chaos.story import Story  # noqa: E402

SEEDS = int(os.environ.get("CHAOS_SEEDS", "24"))


def test_a_seed_always_comes_to_the_same():
    for seed in range(50):
        one, other = Plan.of(seed), Plan.of(seed)
        assert one == other
        assert [one.of_call("s3.UploadPart", n) for n in range(50)] == [other.of_call("s3.UploadPart", n) for n in range(50)]
    assert len({str(Plan.of(seed)) for seed in range(50)}) == 50


def test_whatever_dies_each_job_ends_well_or_with_its_reason():
    outcomes = run(list(range(1, SEEDS + 1)), lanes=4)
    print(summary(outcomes, sum(outcome.seconds for outcome in outcomes)))
    assert {outcome.seed: outcome.broken for outcome in outcomes if outcome.broken} == {}
    assert {outcome.seed: outcome.findings for outcome in outcomes if outcome.findings} == {}
    counts = sum((outcome.counts for outcome in outcomes), Counter())
    # Of some seeds no restore succeeds, and what they break has its reasons.
    assert counts["backups succeeded"] >= SEEDS / 2 and counts["step restore"] > 0
    faults = sum(count for name, count in counts.items() if name.startswith(("s3 ", "dynamodb ", "postgresql ", "kill ")))
    assert faults >= SEEDS, "and something did go wrong"


def test_many_are_due_at_once_and_calls_are_throttled():
    loaded = load(applications=40, throttled=0.05, wait_scale=0.1)
    assert loaded.findings == []
    assert loaded.counts["backups succeeded"] == 40
    assert loaded.counts["s3 throttled"] and loaded.counts["dynamodb throttled"]


class Quiet:
    """An application that was backed up, twice, while nothing went wrong; to be damaged."""

    def __init__(self, lane):
        shape = Shape(database=True, storages=1, rows=20, files=3, large_file=0, divided=False, transfers=False)
        plan = replace(
            Plan.of(0), shape=shape, steps=(Step("scheduled"), Step("backup"), Step("restore"), Step("verify")),
            rate=0, kill_rate=0, storms=(), connection_rate=0,
        )  # fmt: skip
        self.lane, self.platform, self.stack = lane, lane.platform, lane.stack
        self.application = Application(lane.platform, lane.database.port, lane.secret, plan, lane.folder)
        self.application.make()
        settling = Settling(lane.platform, self.application.name)
        story = Story(self.application, settling, lambda: None, lambda: None, lane.killer)
        story.tell()
        self.truth, self.s3, self.bucket = story.truth, lane.platform.s3, lane.stack.bucket
        self.backup = self.records().succeeded()[-1]
        self.key = next(one["object"]["key"] for one in self.backup["artifacts"] if one["service"] == "MEDIA0")
        self.table = lane.stack.client("dynamodb")

    def records(self):
        return Records.read(self.stack, self.application.name)

    def audit(self, **changed):
        looking = Auditor(self.application, replace(self.truth, **changed), killed=False)
        looking.parent = os.getpid()
        return looking.audit()

    @contextmanager
    def changed_item(self, sk, change):
        """The item `sk` as `change` makes it of its JSON; or gone, where it makes nothing."""
        key = {"pk": {"S": f"APP#{self.application.name}"}, "sk": {"S": sk}}
        before = self.table.get_item(TableName=self.stack.table, Key=key).get("Item")
        after = change(json.dumps(before))
        self.put(after) if after else self.table.delete_item(TableName=self.stack.table, Key=key)
        try:
            yield
        finally:
            self.put(json.dumps(before)) if before else self.table.delete_item(TableName=self.stack.table, Key=key)

    def put(self, text):
        self.table.put_item(TableName=self.stack.table, Item=json.loads(text))

    @contextmanager
    def changed_object(self, change):
        """The media archive with a body that `change` makes of it; or gone, where it makes nothing."""
        head = self.s3.head_object(Bucket=self.bucket, Key=self.key)
        before = self.s3.get_object(Bucket=self.bucket, Key=self.key)["Body"].read()
        protection = {
            "StorageClass": "STANDARD_IA", "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": head["SSEKMSKeyId"],
            "BucketKeyEnabled": True, "ChecksumAlgorithm": "CRC64NVME",
        }  # fmt: skip
        after = change(bytearray(before))
        if after is None:
            marker = self.s3.delete_object(Bucket=self.bucket, Key=self.key)["VersionId"]
        else:
            marker = self.s3.put_object(Bucket=self.bucket, Key=self.key, Body=bytes(after), **protection)["VersionId"]
        try:
            yield
        finally:
            self.s3.delete_object(Bucket=self.bucket, Key=self.key, VersionId=marker)


@pytest.fixture(scope="module")
def quiet():
    auditor.PATIENCE = 0.5
    # A short path: sockets are made below it.
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
    with Lane(folder) as lane:
        yield Quiet(lane)
    shutil.rmtree(folder)
    auditor.PATIENCE = 15


def test_where_nothing_went_wrong_nothing_is_found(quiet):
    assert quiet.audit() == []
    states = {one["state"] for one in [*quiet.records().backups.values(), *quiet.records().restores.values()]}
    assert states == {"succeeded"}


def flipped(body):
    body[len(body) // 2] ^= 1
    return body


@pytest.mark.parametrize(
    ("change", "said"),
    [(lambda _: None, "consists of"), (flipped, "checksum of"), (lambda body: body[:-1], "size of")],
    ids=["deleted", "flipped", "cut"],
)
def test_an_object_that_is_not_what_was_stored_is_found(quiet, change, said):
    with quiet.changed_object(change):
        assert said in " ".join(quiet.audit())


def test_contents_that_are_not_what_was_there_are_found(quiet):
    for service in ("DEFAULT", "MEDIA0"):
        contents = {id: dict(one) for id, one in quiet.truth.contents.items()}
        contents[quiet.backup["id"]][service] = dict(contents[quiet.backup["id"]][service]) | {"public.customers": "other", "0/0.bin": "x"}
        found = quiet.audit(contents=contents)
        assert found and all(f"{service} restores to" in one for one in found)


def test_what_was_left_in_the_bucket_is_found(quiet):
    application = quiet.application.name
    upload = quiet.s3.create_multipart_upload(Bucket=quiet.bucket, Key=f"applications/{application}/x/media.tar")
    found = " ".join(quiet.audit())
    quiet.s3.abort_multipart_upload(Bucket=quiet.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    assert "an upload of" in found
    stray = f"applications/{application}/x/staged"
    quiet.s3.put_object(Bucket=quiet.bucket, Key=stray, Body=b"x")
    found = " ".join(quiet.audit())
    quiet.s3.delete_object(Bucket=quiet.bucket, Key=stray)
    assert f"{stray} belongs to no backup" in found


def test_a_seat_at_a_database_server_that_was_not_given_back_is_found(quiet):
    service = next(one for one in quiet.records().application["spec"]["services"] if one["kind"] != "storage")
    key = {"pk": {"S": f"SERVER#{service['host']}:{service['port']}"}, "sk": {"S": "SEATS"}}
    before = quiet.table.get_item(TableName=quiet.stack.table, Key=key)["Item"]
    seat = {"backup": {"S": quiet.backup["id"]}, "service": {"S": "DEFAULT"}, "until": {"S": "2999-01-01T00:00:00Z"}}
    quiet.put(json.dumps(before | {"record": {"M": {"taken": {"L": [{"M": seat}]}}}}))
    found = " ".join(quiet.audit())
    quiet.put(json.dumps(before))
    assert "has a seat at its database server" in found


def test_records_that_do_not_agree_are_found(quiet):
    id, application = quiet.backup["id"], quiet.application.name
    sk = f"BACKUP#{id}"
    other = f"{id[:-1]}{'0' if id[-1] != '0' else '1'}"
    end = next(
        f"AUDIT#{one['id']}" for one in quiet.records().trail if one["backup"] == id and one["action"] == "succeed"
    )
    turn = json.dumps({"pk": {"S": f"APP#{application}"}, "sk": {"S": "TURN#on_demand"}, "backup": {"S": id}})
    succeeded = '"state": {"S": "succeeded"}'
    crc = quiet.backup["artifacts"][0]["object"]["crc64nvme"]
    for item, change, said in (
        (sk, lambda text: text.replace('"daily"', '"weekly"'), "labels are"),
        (sk, lambda text: text.replace(succeeded, '"state": {"S": "failed"}'), "has no reason"),
        (sk, lambda text: text.replace(succeeded, '"state": {"S": "cancelled"}'), "cancelled by nobody"),
        (sk, lambda text: text.replace(succeeded, '"state": {"S": "running"}'), "is running"),
        (sk, lambda text: text.replace('"CRC64NVME"', '"x"').replace(crc, "AAAAAAAAAAA="), "checksum"),
        (f"BACKUP#{other}", lambda _: json.dumps(copy_of(quiet, sk)).replace(id, other), "has 2 backups"),
        ("TURN#on_demand", lambda _: turn, "the turn on_demand is taken"),
        (end, lambda _: None, "its trail says []"),
    ):
        with quiet.changed_item(item, change):
            found = " ".join(quiet.audit())
        assert said in found, said
    assert quiet.audit() == [], "each was put right again"


def copy_of(quiet, sk):
    key = {"pk": {"S": f"APP#{quiet.application.name}"}, "sk": {"S": sk}}
    return quiet.table.get_item(TableName=quiet.stack.table, Key=key)["Item"]


def test_a_key_that_made_two_backups_is_found(quiet):
    keys = {key: {*ids, "another"} for key, ids in quiet.truth.keys.items()}
    found = " ".join(quiet.audit(keys=keys))
    assert "were told of 2 backups" in found and "the backup another, which is not there" in found


def test_what_was_left_on_the_machine_is_found(quiet):
    server = quiet.platform.server
    server.create_database("holdfast_restore_left")
    assert "the database holdfast_restore_left" in " ".join(quiet.audit())
    server.drop_database("holdfast_restore_left")

    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute(f'SET SESSION AUTHORIZATION "{OWNER}"')
        connection.execute("SELECT pg_advisory_lock(1)")
        assert "an advisory lock" in " ".join(quiet.audit())

    left = subprocess.Popen(["pg_dump", "60"], executable="/bin/sleep")
    try:
        assert f"the process {left.pid}, pg_dump" in " ".join(quiet.audit())
    finally:
        left.kill()
        left.wait()

    file = Path(tempfile.gettempdir()) / "holdfast-left"
    file.touch()
    found = " ".join(quiet.audit())
    file.unlink()
    assert "the file holdfast-left" in found
    assert quiet.audit() == []
