"""Backups in a bucket with an Object Lock: what is locked stays, what is discarded is hidden, and no job waits for either."""

import pytest

from local.postgres import Postgres
from local.stack import Stack
from platform_under_test import Platform

LOCK = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}}


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """A platform of its own, whose bucket locks what is put into it."""
    stack = Stack(tmp_path_factory.mktemp("locked"))
    with stack.start(SFN_WAIT_SCALE="0.02"), Postgres(tmp_path_factory.mktemp("locked-postgres") / "cluster") as server:
        stack.deploy()
        platform = Platform(stack, server)
        platform.s3.put_object_lock_configuration(Bucket=stack.bucket, ObjectLockConfiguration=LOCK)
        yield platform


@pytest.fixture(scope="module")
def database(locked):
    return locked.database("locked", "CREATE TABLE notes AS SELECT n, md5(n::text) AS text FROM generate_series(1, 500) n")


def test_a_backup_that_fails_leaves_nothing_but_what_is_locked_and_hides_that(locked, database, tmp_path):
    locked.bucket("vanishing-media", {"a.txt": b"a"})
    locked.register("failing", tmp_path, database, locked.storage("vanishing-media"))
    locked.s3.delete_object(Bucket="vanishing-media", Key="a.txt")
    locked.s3.delete_bucket(Bucket="vanishing-media")
    assert locked.run("backup", "create", "failing").code != 0
    [backup] = locked.ask("backup", "list", "failing")["items"]
    assert (backup["state"], backup["failure"]["service"]) == ("failed", "MEDIA")
    assert locked.left_of("failing"), "the database's objects were stored before, and are locked"
    assert locked.objects_of(backup) == set()
    assert not [one for one in locked.left_of("failing") if one.startswith("upload")]


def test_a_backup_is_discarded_and_brought_back(locked, database, tmp_path):
    locked.bucket("locked-media", {"a.txt": b"a", "b.bin": bytes(range(256)) * 1000})
    locked.register("kept", tmp_path, database, locked.storage("locked-media"))
    backup = locked.ask("backup", "create", "kept")
    stored = locked.objects_of(backup)
    locked.ask("backup", "delete", "kept", backup["id"], "--yes")
    assert locked.backup("kept", backup["id"])["state"] == "expired"
    assert locked.objects_of(backup) == set()
    assert locked.ask("backup", "undelete", "kept", backup["id"])["state"] == "succeeded"
    assert locked.objects_of(backup) - {"hold.json"} == stored, "and is held"
    assert locked.ask("backup", "verify", "kept", backup["id"])["verification"]["state"] == "passed"
