"""What goes wrong, for real: each ends with its reason on the record, and nothing left in the bucket."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import psycopg
import pytest
from stack_processes import children

# A table to wait for: a dump stands still at its lock, and can be interfered with. (What is cut in mid-stream, with parts
# stored already, is tested with the engines, in shared/backup/tests/engines.)
BULK = """
CREATE EXTENSION IF NOT EXISTS pgcrypto;
CREATE TABLE bulk AS SELECT n, gen_random_bytes(1000) AS noise FROM generate_series(1, {rows}) n;
"""


def failed(platform, application):
    """The outcome of a backup that must fail, checked for what every failure must be."""
    said = platform.run("backup", "create", application)
    assert said.code == 1, said
    backup = platform.ask("backup", "list", application)["items"][0]
    assert backup["state"] == "failed"
    assert backup["artifacts"] == []
    assert application in backup["failure"]["message"] and "DEFAULT" in backup["failure"]["message"]
    assert platform.left_of(application) == []
    return backup["failure"]


def test_a_wrong_password_is_named_and_never_shown(platform, tmp_path):
    service = platform.database("locked")
    wrong = "definitely-not-the-password"
    service["secret_arn"] = platform.secret("holdfast/locked-wrong", {"username": "locked", "password": wrong})
    platform.register("locked", tmp_path, service)
    failure = failed(platform, "locked")
    assert (failure["code"], failure["transient"]) == ("wrong_password", False)
    shown = json.dumps(platform.ask("backup", "list", "locked")) + platform.run("backup", "create", "locked").err
    assert wrong not in shown
    logs = platform.logs()
    assert "wrong_password" in logs and wrong not in logs
    assert wrong not in platform.stack.log.read_text(errors="replace")


def test_no_such_database(platform, tmp_path):
    service = platform.database("misnamed") | {"database": "misspelt"}
    platform.register("misnamed", tmp_path, service)
    failure = failed(platform, "misnamed")
    assert failure["code"] == "no_such_database" and "misspelt" in failure["message"]


def test_an_unreachable_host_is_tried_again_and_then_named(platform, tmp_path):
    service = platform.database("faraway") | {"port": 9}
    platform.register("faraway", tmp_path, service)
    failure = failed(platform, "faraway")
    assert failure["code"] == "unreachable_host" and failure["transient"]


def test_a_secret_that_went_missing(platform, tmp_path):
    service = platform.database("forgetful")
    platform.register("forgetful", tmp_path, service)
    platform.stack.client("secretsmanager").delete_secret(SecretId=service["secret_arn"], ForceDeleteWithoutRecovery=True)
    failure = failed(platform, "forgetful")
    assert failure["code"] == "secret_missing" and service["secret_arn"] in failure["message"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"host": "db.abc.us-west-2.rds.amazonaws.com"}, ["us-west-2", "host"]),
        ({"secret_arn": "arn:aws:secretsmanager:eu-central-1:000000000000:secret:holdfast/none-AbCdEf"}, ["secret_arn"]),
        ({"secret_arn": "hunter2"}, ["secret_arn", "ARN"]),
    ],
)
def test_a_database_out_of_reach_is_refused_at_registration(platform, tmp_path, change, named):
    service = {
        "kind": "postgres", "name": "DEFAULT", "host": "127.0.0.1", "port": 5432, "database": "x",
        "secret_arn": "arn:aws:secretsmanager:eu-central-1:000000000000:secret:holdfast/none-AbCdEf",
        "tls": {"mode": "disable"},
    } | change
    said = platform.put("refused", tmp_path, service)
    assert said.code == 1
    for word in named:
        assert word in said.err


def test_a_bucket_in_another_region_is_refused_by_name(platform, tmp_path):
    platform.bucket("overseas-media", region="ap-southeast-2")
    said = platform.put("overseas", tmp_path, platform.storage("overseas-media"))
    assert said.code == 1
    assert "overseas-media" in said.err and "ap-southeast-2" in said.err


def waits_behind_a_lock(platform, name, tmp_path, rows=2000):
    """An application whose dump stands still behind a lock, and the connection that holds it."""
    platform.register(name, tmp_path, platform.database(name, BULK.format(rows=rows)))
    holder = psycopg.connect(platform.server.dsn_for(name, "postgres", platform.server.password))
    holder.execute("LOCK TABLE bulk IN ACCESS EXCLUSIVE MODE")
    return holder


def sessions(platform, database):
    """Backends of a dump that waits for a lock."""
    sql = f"SELECT pid FROM pg_stat_activity WHERE datname = '{database}' AND wait_event_type = 'Lock'"
    return [int(pid) for pid in platform.server.run_sql(sql).split()]


def wait_for(found, what):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if answer := found():
            return answer
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come within 60 s")


def test_a_killed_pg_dump_is_begun_again(platform, tmp_path):
    with waits_behind_a_lock(platform, "killed", tmp_path):
        id = platform.ask("backup", "create", "killed", "--detach")["id"]
        wait_for(lambda: sessions(platform, "killed"), "pg_dump at the lock")
        (killed,) = children("pg_dump", platform.stack.running.pid)
        os.kill(killed, signal.SIGKILL)
        wait_for(
            lambda: set(children("pg_dump", platform.stack.running.pid)) - {killed} and sessions(platform, "killed"),
            "another pg_dump at the lock",
        )
        assert not any("database.dump" in key and "upload" not in key for key in platform.left_of("killed"))
    backup = platform.ended("killed", id)
    assert backup["state"] == "succeeded"
    assert platform.objects_of(backup) == {"backup.json", "README.txt", "DEFAULT/database.dump", "DEFAULT/database.rows.jsonl"}


def test_a_connection_that_is_always_cut_fails_the_backup_and_leaves_nothing(platform, tmp_path):
    with waits_behind_a_lock(platform, "cut", tmp_path):
        id = platform.ask("backup", "create", "cut", "--detach")["id"]
        stop = threading.Event()

        def cut():
            while not stop.wait(0.1):
                for pid in sessions(platform, "cut"):
                    platform.server.run_sql(f"SELECT pg_terminate_backend({pid})")

        cutter = threading.Thread(target=cut)
        cutter.start()
        try:
            backup = platform.ended("cut", id)
        finally:
            stop.set()
            cutter.join()
    assert backup["state"] == "failed"
    assert backup["failure"]["transient"] and "cut, service DEFAULT" in backup["failure"]["message"]
    assert platform.left_of("cut") == []


def test_a_killed_worker_is_replaced(platform, tmp_path):
    with waits_behind_a_lock(platform, "crashed", tmp_path):
        id = platform.ask("backup", "create", "crashed", "--detach")["id"]
        wait_for(lambda: sessions(platform, "crashed"), "pg_dump at the lock")
        (pg_dump,) = children("pg_dump", platform.stack.running.pid)
        worker = int(Path(f"/proc/{pg_dump}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(worker, signal.SIGKILL)
    backup = platform.ended("crashed", id)
    assert backup["state"] == "succeeded", backup["failure"]
    assert platform.objects_of(backup) == {"backup.json", "README.txt", "DEFAULT/database.dump", "DEFAULT/database.rows.jsonl"}
    uploads = [key for key in platform.left_of("crashed") if key.startswith("upload")]
    assert uploads == []


def test_a_cancelled_backup_stops_and_leaves_nothing(platform, tmp_path):
    with waits_behind_a_lock(platform, "stopped", tmp_path):
        id = platform.ask("backup", "create", "stopped", "--detach")["id"]
        wait_for(lambda: sessions(platform, "stopped"), "pg_dump at the lock")
        running = platform.backup("stopped", id)
        assert running["state"] == "running" and running["progress"]
        platform.ask("backup", "cancel", "stopped", id)
        backup = platform.ended("stopped", id)
    assert (backup["state"], backup["failure"]) == ("cancelled", None)
    assert platform.left_of("stopped") == []
    wait_for(lambda: not children("pg_dump", platform.stack.running.pid), "the end of pg_dump")


def test_two_requests_at_once_make_one_backup(platform, tmp_path):
    with waits_behind_a_lock(platform, "eager", tmp_path):
        first = platform.start("backup", "create", "eager", "--detach")
        second = platform.start("backup", "create", "eager", "--detach")
        outcomes = []
        for process in (first, second):
            out, err = process.communicate(timeout=60)
            outcomes.append((process.returncode, out, err))
        outcomes.sort()
        assert [code for code, _, _ in outcomes] == [0, 1]
        id = json.loads(outcomes[0][1])["id"]
        assert id in outcomes[1][2], "the refusal names the one that runs"
    assert platform.ended("eager", id)["state"] == "succeeded"
    assert len(platform.ask("backup", "list", "eager")["items"]) == 1


def test_a_repeated_key_makes_no_second_backup(platform, tmp_path):
    platform.bucket("twice-media", {"a": b"a"})
    platform.register("twice", tmp_path, platform.storage("twice-media"))
    first = platform.ask("backup", "create", "twice", "--idempotency-key", "monday")
    again = platform.ask("backup", "create", "twice", "--idempotency-key", "monday")
    assert first["id"] == again["id"]
    said = platform.run("backup", "create", "twice", "--idempotency-key", "monday", "--note", "another")
    assert said.code == 1 and "Idempotency-Key" in said.err
