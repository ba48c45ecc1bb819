"""Restores whose worker is killed, or whose connections are cut, at moments that a seed chooses: what a restore had begun is
taken away, it goes on, and everything is there as it was."""

import os
import random
import signal
import time

import psycopg
import pymysql
import pytest
from stack_processes import children, functions
from test_mysql import service as mysql_service

from local.mariadb import MariaDb

PATIENCE = 60
# About a second of restoring.
ROWS = 80_000
FILES = {f"media/many/{n:03}.txt": b"%d" % n * 1000 for n in range(60)} | {"media/large.bin": bytes(range(256)) * 50_000}
POSTGRES = f"""
CREATE TABLE long AS SELECT n, md5(n::text) || md5((n + 1)::text) AS text FROM generate_series(1, {ROWS}) n;
ALTER TABLE long ADD PRIMARY KEY (n);
CREATE INDEX ON long (text);
"""
MARIADB = f"""
CREATE TABLE `long` (n INT PRIMARY KEY, text VARCHAR(64), KEY (text));
INSERT INTO `long` SELECT seq, CONCAT(MD5(seq), MD5(seq + 1)) FROM seq_1_to_{ROWS};
CREATE TABLE told (n INT);
CREATE TRIGGER tells AFTER INSERT ON `long` FOR EACH ROW INSERT INTO told VALUES (NEW.n);
CREATE VIEW low AS SELECT n FROM `long` WHERE n < 10;
"""
LATER = "DELETE FROM {long} WHERE n % 3 = 0; CREATE TABLE later (id int); INSERT INTO later VALUES (1), (2);"


class OnPostgres:
    """The database `erratic` of a PostgreSQL server, from outside."""

    def __init__(self, platform):
        self.server = platform.server
        self.service = platform.database("erratic", POSTGRES)
        self.server.run_sql("ALTER ROLE erratic CREATEDB")
        self.outside = psycopg.connect(self.server.dsn, autocommit=True)

    def ask(self, sql):
        return [row[0] for row in self.outside.execute(sql)]

    def change(self):
        self.server.run_sql(LATER.format(long="long"), "erratic")
        self.was = self.identity()

    def identity(self):
        return self.ask("SELECT oid FROM pg_database WHERE datname = 'erratic'")

    def is_filling(self):
        return self.ask("SELECT datname FROM pg_database WHERE datname LIKE 'holdfast%'")

    def is_restored(self):
        return self.identity() not in ([], self.was)

    def cut(self):
        return sum(self.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'holdfast%'"))

    def rows(self):
        tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1"
        sums = "SELECT count(*) || md5(string_agg(text, '' ORDER BY n)) FROM long"
        return [self.server.run_sql(sql, "erratic") for sql in (tables, sums)]

    def left(self):
        return self.is_filling() + self.ask("SELECT application_name FROM pg_stat_activity WHERE usename = 'erratic'")


class OnMariaDb:
    """The same of a MariaDB server."""

    def __init__(self, platform, server):
        self.server = server
        server.create_database("erratic", MARIADB)
        self.service = mysql_service(platform, server, "erring", "erratic", server.password)
        login = {"host": server.host, "port": server.port, "user": server.user, "password": server.password}
        self.outside = pymysql.connect(**login, autocommit=True)

    def ask(self, sql):
        with self.outside.cursor() as cursor:
            cursor.execute(sql)
            return [row[0] for row in cursor.fetchall()]

    def change(self):
        self.server.run_sql(LATER.format(long="`long`"), "erratic")

    def is_filling(self):
        return self.ask("SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'holdfast%'")

    def is_exchanging(self):
        return self.ask("SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'holdfast_replaced%'")

    def is_restored(self):
        later = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'erratic' AND table_name = 'later'"
        return not self.ask(later)

    def sessions(self):
        return self.ask("SELECT id FROM information_schema.processlist WHERE db LIKE 'holdfast%'")

    def cut(self):
        for id in self.sessions():
            try:
                self.ask(f"KILL {id}")
            except pymysql.MySQLError:
                # It has ended.
                continue
            return 1
        return 0

    def rows(self):
        objects = """SELECT table_name FROM information_schema.tables WHERE table_schema = 'erratic'
            UNION SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = 'erratic' ORDER BY 1"""
        return [self.server.run_sql(objects), self.server.run_sql("CHECKSUM TABLE `long`, told", "erratic")]

    def left(self):
        return self.is_filling() + self.sessions()


class Shop:
    """An application that was backed up and has changed since."""

    def __init__(self, platform, name, database, folder):
        self.platform, self.name, self.database, self.bucket = platform, name, database, f"{name}-media"
        self.stack = platform.stack.running.pid
        platform.bucket(self.bucket, FILES)
        platform.register(name, folder, database.service, platform.storage(self.bucket, "media/"))
        self.before = self.state()
        self.backup = platform.ask("backup", "create", name)["id"]

    def state(self):
        return self.database.rows(), self.files()

    def files(self):
        s3 = self.platform.s3
        found = [one["Key"] for one in s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])]
        return {key: s3.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in found}

    def change(self):
        self.database.change()
        for key in FILES:
            self.platform.s3.delete_object(Bucket=self.bucket, Key=key)

    def has_files(self):
        return self.platform.s3.list_objects_v2(Bucket=self.bucket, MaxKeys=1).get("Contents")

    def left(self):
        """All that a restore may leave: databases and sessions, uploads of both buckets, processes."""
        uploads = self.platform.s3.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        uploads += [key for key in self.platform.left_of(self.name) if key.startswith("upload")]
        programs = [pid for program in ("pg_restore", "mariadb") for pid in children(program, self.stack)]
        return self.database.left() + uploads + programs

    def kill(self):
        """Kills the workers that restore; says how many."""
        killed = functions("Restore", self.stack)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        return len(killed)


@pytest.fixture(scope="module")
def postgres_shop(platform, tmp_path_factory):
    return Shop(platform, "erratic", OnPostgres(platform), tmp_path_factory.mktemp("erratic"))


@pytest.fixture(scope="module")
def mariadb_shop(platform, tmp_path_factory):
    with MariaDb() as server:
        yield Shop(platform, "erring", OnMariaDb(platform, server), tmp_path_factory.mktemp("erring"))


# What is waited for, and within how many seconds after it something happens.
MOMENTS = {
    "database": (lambda shop: shop.database.is_filling(), 0.6),
    "exchange": (lambda shop: shop.database.is_exchanging(), 0.05),
    "between": (lambda shop: shop.database.is_restored(), 0.02),
    "media": (lambda shop: shop.has_files(), 0.1),
}


def interfered(shop, moment, interfere):
    """Restores that something happens to at the moment, until it has hit one; that one, once it has ended."""
    is_there, spread = MOMENTS[moment]
    for seed in range(6):
        chance = random.Random(f"{shop.name} {moment} {seed}")
        shop.change()
        id = shop.platform.ask("restore", "create", shop.name, "--from", shop.backup, "--overwrite", "--detach")["id"]
        deadline = time.monotonic() + PATIENCE
        while not is_there(shop):
            assert time.monotonic() < deadline, f"it does not come to {moment}"
            time.sleep(0.002)
        time.sleep(chance.uniform(0, spread))
        interfere(shop)
        shop.platform.run("restore", "follow", shop.name, id)
        ended = shop.platform.ask("restore", "show", shop.name, id)
        print(f"{shop.name}, {moment}, seed {seed}: {ended['state']}, {shop.platform.failed_calls(id)} calls failed")
        assert ended["state"] == "succeeded", ended["failure"]
        assert shop.state() == shop.before
        assert shop.left() == []
        if shop.platform.failed_calls(id):
            return
    raise AssertionError("nothing has hit a worker at work")


@pytest.mark.parametrize("moment", ["database", "between", "media"])
def test_a_killed_worker_and_postgres(postgres_shop, moment):
    interfered(postgres_shop, moment, Shop.kill)


@pytest.mark.parametrize("moment", ["database", "exchange", "media"])
def test_a_killed_worker_and_mariadb(mariadb_shop, moment):
    interfered(mariadb_shop, moment, Shop.kill)


def cut(shop):
    """Ends the next session that fills the database."""
    while shop.database.is_filling() and not shop.database.cut():
        time.sleep(0.002)


def test_cut_connections_to_postgres(postgres_shop):
    interfered(postgres_shop, "database", cut)


def test_cut_connections_to_mariadb(mariadb_shop):
    interfered(mariadb_shop, "database", cut)
