"""Databases that are read from a copy, while they go on taking writes: what is stored is the moment of the snapshot, and
nothing of it is left in RDS, whatever happens meanwhile."""

import os
import signal
import subprocess
import threading
import time
import uuid
from pathlib import Path

import psycopg
import pytest
from platform_under_test import EVENT, PATIENCE
from stack_processes import children, functions

from local import rds
from local.postgres import Postgres
from local.stack import STACK_NAME

ACCOUNTS, TOTAL = 50, 50_000
# The ballast makes a dump take long enough to be killed in.
BANK = f"""
CREATE TABLE account AS SELECT n AS id, {TOTAL // ACCOUNTS} AS balance FROM generate_series(1, {ACCOUNTS}) n;
ALTER TABLE account ADD PRIMARY KEY (id);
CREATE TABLE ledger (n int PRIMARY KEY, source int, target int, amount int, at timestamptz DEFAULT clock_timestamp());
CREATE TABLE ballast AS SELECT n, md5(n::text) || md5((n + 1)::text) AS text FROM generate_series(1, 300000) n;
"""
# A backup that there is no record of.
UNKNOWN = "0195d9a2-0000-7000-8000-000000000000"


class Bank:
    """A database that transfers money from account to account, one transaction after the other, and its RDS."""

    def __init__(self, platform, server):
        self.platform, self.server = platform, server
        self.rds = platform.stack.client("rds")
        self.password = server.create_role("bank")
        server.create_database("bank", owner="bank")
        server.run_sql(BANK, "bank")
        server.run_sql("GRANT pg_read_all_data TO bank", "bank")
        self.secret = platform.secret("holdfast/bank", {"username": "bank", "password": self.password})
        rds.register(platform.stack.endpoint, "db", "bank-db", "postgres", server)
        rds.register(platform.stack.endpoint, "cluster", "bank-cluster", "aurora-postgresql", server)
        self.stopping = threading.Event()
        self.writer = threading.Thread(target=self.write)
        self.writer.start()

    def write(self):
        with psycopg.connect(self.server.dsn_for("bank", "postgres", self.server.password), autocommit=True) as session:
            n = session.execute("SELECT count(*) FROM ledger").fetchone()[0]
            while not self.stopping.is_set():
                n += 1
                source, target, amount = n % ACCOUNTS + 1, n * 7 % ACCOUNTS + 1, n % 13
                with session.transaction():
                    session.execute("INSERT INTO ledger VALUES (%s, %s, %s, %s)", (n, source, target, amount))
                    session.execute("UPDATE account SET balance = balance - %s WHERE id = %s", (amount, source))
                    session.execute("UPDATE account SET balance = balance + %s WHERE id = %s", (amount, target))

    def stop(self):
        self.stopping.set()
        self.writer.join()

    def written(self):
        """How many transfers are committed."""
        return int(self.server.run_sql("SELECT count(*) FROM ledger", "bank"))

    def service(self, isolated, **more):
        return {
            "kind": "postgres",
            "name": "DEFAULT",
            # Whoever reads the database itself and not a copy is found out.
            "host": "127.0.0.1",
            "port": 1,
            "database": "bank",
            "secret_arn": self.secret,
            "tls": {"mode": "verify_full", "ca_pem": self.server.ca_pem},
            "isolated": isolated,
        } | more

    def temporary(self):
        """All that is there in RDS by a name of ours, with its state."""
        found = [
            *((one["DBInstanceIdentifier"], one["DBInstanceStatus"]) for one in self.rds.describe_db_instances()["DBInstances"]),
            *((one["DBClusterIdentifier"], one["Status"]) for one in self.rds.describe_db_clusters()["DBClusters"]),
            *((one["DBSnapshotIdentifier"], one["Status"]) for one in self.rds.describe_db_snapshots()["DBSnapshots"]),
            *(
                (one["DBClusterSnapshotIdentifier"], one["Status"])
                for one in self.rds.describe_db_cluster_snapshots()["DBClusterSnapshots"]
            ),
        ]
        return [(name, status) for name, status in found if name.startswith("holdfast-")]

    def assert_nothing_left(self):
        """What is being deleted is gone soon; nothing else is there, and no server of it runs."""
        assert {status for _, status in self.temporary()} <= {"deleting"}
        until(lambda: not self.temporary(), "RDS is empty")
        commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.parent.exists()]
        assert not [one for one in commands if b"/db-holdfast-" in one]

    def until_restoring(self):
        """Waits until an instance is being made of the snapshot, which is whole by then."""
        until(lambda: [one for one in self.rds.describe_db_instances()["DBInstances"] if "holdfast-" in one["DBInstanceIdentifier"]], "an instance")

    def restored(self, backup, folder):
        """A session in a new database that the archive was restored into by pg_restore."""
        artifact = backup["artifacts"][0]["object"]
        file = folder / "database.dump"
        self.platform.s3.download_file(self.platform.stack.bucket, artifact["key"], str(file))
        name = f"restored_{uuid.uuid4().hex[:8]}"
        self.server.create_database(name)
        where = self.server.dsn_for(name, "postgres", self.server.password)
        subprocess.run([self.server.programs / "pg_restore", "--exit-on-error", "--no-owner", "-d", where, file], check=True)
        return psycopg.connect(where)

    def assert_is_of_one_moment(self, backup, folder, most):
        """The archive holds a beginning of the transfers, each as a whole, up to the snapshot's moment and not `most`."""
        with self.restored(backup, folder) as session:
            count, last = session.execute("SELECT count(*), max(n) FROM ledger").fetchone()
            assert 0 < count == last <= most
            balances = dict(session.execute("SELECT id, balance FROM account").fetchall())
            transfers = session.execute("SELECT source, target, amount FROM ledger").fetchall()
        assert sum(balances.values()) == TOTAL
        expected = dict.fromkeys(balances, TOTAL // ACCOUNTS)
        for source, target, amount in transfers:
            expected[source] -= amount
            expected[target] += amount
        assert balances == expected
        # The next one was committed after the snapshot was begun, and so it was before the one that follows it.
        after = self.server.run_sql(f"SELECT at >= '{backup['taken_at']}' FROM ledger WHERE n = {last + 2}", "bank")
        assert after == "t"


def until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def bank(platform, tmp_path_factory):
    with Postgres(tmp_path_factory.mktemp("bank") / "cluster", tls=True) as server:
        bank = Bank(platform, server)
        yield bank
        bank.stop()


def begin(bank, application, folder, isolated):
    bank.platform.register(application, folder, bank.service(isolated))
    return bank.platform.ask("backup", "create", application, "--detach")["id"]


@pytest.mark.parametrize("isolated", [{"instance": "bank-db"}, {"cluster": "bank-cluster"}], ids=["instance", "cluster"])
def test_the_snapshots_moment_is_backed_up_while_writes_go_on(bank, tmp_path, isolated):
    application = f"bank-{[*isolated][0]}"
    id = begin(bank, application, tmp_path, isolated)
    bank.until_restoring()
    most = bank.written()
    backup = bank.platform.ended(application, id)
    assert backup["state"] == "succeeded", backup["failure"]
    bank.assert_nothing_left()
    assert bank.platform.failed_calls(id) == 0
    bank.assert_is_of_one_moment(backup, tmp_path, most)
    assert bank.written() > most + 1


def test_a_backup_that_is_cancelled_in_the_middle_leaves_nothing(bank, tmp_path):
    id = begin(bank, "undecided", tmp_path, {"instance": "bank-db"})
    bank.until_restoring()
    bank.platform.ask("backup", "cancel", "undecided", id)
    assert bank.platform.ended("undecided", id)["state"] == "cancelled"
    bank.assert_nothing_left()
    assert bank.platform.left_of("undecided") == []


def test_a_killed_worker_goes_on_with_the_same_copy(bank, tmp_path):
    id = begin(bank, "erratic-bank", tmp_path, {"instance": "bank-db"})
    bank.until_restoring()
    most = bank.written()
    deadline = time.monotonic() + PATIENCE
    while not bank.platform.failed_calls(id):
        assert time.monotonic() < deadline
        for pid in functions("Worker", bank.platform.stack.running.pid):
            os.kill(pid, signal.SIGKILL)
    backup = bank.platform.ended("erratic-bank", id)
    assert backup["state"] == "succeeded", backup["failure"]
    bank.assert_nothing_left()
    # Not of a second snapshot, which would hold more.
    bank.assert_is_of_one_moment(backup, tmp_path, most)


def test_a_dump_that_is_longer_than_an_invocation_goes_on_in_the_next(bank, tmp_path):
    stack = bank.platform.stack.running.pid
    # Of which 15 are kept for the end, and a dump halts after three quarters of the rest.
    with bank.platform.timeout("Worker", 27):
        id = begin(bank, "patient-bank", tmp_path, {"instance": "bank-db"})
        bank.until_restoring()
        most = bank.written()
        until(lambda: children("pg_dump", stack), "a dump has begun")
        workers = functions("Worker", stack)
        for signal_number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in workers:
                os.kill(pid, signal_number)
            if signal_number == signal.SIGSTOP:
                time.sleep(9.2)
        backup = bank.platform.ended("patient-bank", id)
    assert backup["state"] == "succeeded", backup["failure"]
    assert bank.platform.failed_calls(id) == 0
    assert "the dump has halted" in bank.platform.logs()
    bank.assert_nothing_left()
    bank.assert_is_of_one_moment(backup, tmp_path, most)


def test_leftovers_with_our_tags_are_swept_at_night_and_no_others(bank):
    def leave(kind, name, stack):
        tags = {"holdfast:stack": stack, "holdfast:application": "undecided", "holdfast:backup": UNKNOWN}
        rds.register(bank.platform.stack.endpoint, kind, name, "postgres", tags=tags)

    leave("db", "holdfast-left", STACK_NAME)
    leave("snapshot", "holdfast-left", STACK_NAME)
    leave("snapshot", "holdfast-of-another-stack", "another")
    rds.register(bank.platform.stack.endpoint, "snapshot", "holdfast-of-somebody", "postgres")
    assert bank.platform.invoke("Retention", EVENT)["copies_swept"] == 2
    until(lambda: "holdfast-left" not in dict(bank.temporary()), "the leftovers are gone")
    assert sorted(name for name, _ in bank.temporary()) == ["holdfast-of-another-stack", "holdfast-of-somebody"]
    for name in ("holdfast-of-another-stack", "holdfast-of-somebody"):
        bank.rds.delete_db_snapshot(DBSnapshotIdentifier=name)


def test_a_source_that_is_not_there_is_told(bank, tmp_path):
    id = begin(bank, "mistaken", tmp_path, {"instance": "bnak-db"})
    backup = bank.platform.ended("mistaken", id)
    assert backup["failure"]["code"] == "isolated_source_missing", backup["failure"]
    assert '"bnak-db"' in backup["failure"]["message"]
