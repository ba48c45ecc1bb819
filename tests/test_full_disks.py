"""A disk that is full in mid-restore, of the database server or the function's own: it is said, the database is as it was, and with
room it is restored."""

import pytest
from small_disk import SmallDisk
from test_mysql import service as mysql_service

from local.account import of_server
from local.mariadb import MariaDb, MariaDbError
from local.postgres import PostgresError

# 16 MiB that cannot be packed.
POSTGRES = """
CREATE EXTENSION IF NOT EXISTS pgcrypto;
CREATE TABLE bulk AS SELECT n, gen_random_bytes(1000) AS noise FROM generate_series(1, 14000) n;
"""
MARIADB = """
CREATE TABLE bulk (n INT PRIMARY KEY, noise BLOB);
INSERT INTO bulk SELECT seq, REPEAT(UNHEX(SHA2(seq, 512)), 16) FROM seq_1_to_14000;
"""
SMALL = "DROP TABLE bulk; CREATE TABLE precious (n int); INSERT INTO precious VALUES (1), (2);"


class OnPostgres:
    """The database `cramped` of the platform's server, in a tablespace on a small disk."""

    def __init__(self, platform, disk):
        self.server, self.disk = platform.server, disk
        self.service = platform.database("cramped", POSTGRES)
        self.server.run_sql("ALTER ROLE cramped CREATEDB")

    def shrink(self):
        self.server.run_sql(SMALL, "cramped")
        self.server.run_sql(f"CREATE TABLESPACE cramped OWNER cramped LOCATION '{self.disk.folder}'")
        self.server.run_sql("ALTER DATABASE cramped SET TABLESPACE cramped")

    def ask(self, table):
        return self.server.run_sql(f"SELECT count(*) FROM {table}", "cramped")

    def databases(self):
        return self.server.run_sql("SELECT datname FROM pg_database WHERE datname LIKE '%cramped%' OR datname LIKE 'holdfast%'").split()

    def end(self):
        self.server.drop_database("cramped")
        self.server.run_sql("DROP TABLESPACE cramped")


class OnMariaDb:
    """The same of a server that is on a small disk altogether."""

    def __init__(self, platform, disk):
        self.disk = disk
        self.server = MariaDb(parent=disk.folder).__enter__()
        self.server.create_database("cramped", MARIADB)
        self.service = mysql_service(platform, self.server, "cramped-mariadb", "cramped", self.server.password)

    def shrink(self):
        self.server.run_sql(SMALL, "cramped")

    def ask(self, table):
        return self.server.run_sql(f"SELECT COUNT(*) FROM {table}", "cramped")

    def databases(self):
        return self.server.run_sql("SHOW DATABASES WHERE `Database` LIKE '%cramped%' OR `Database` LIKE 'holdfast%'").split()

    def end(self):
        self.server.__exit__()


KINDS = {
    OnPostgres: ("cramped", of_server("PostgreSQL", "postgres", PostgresError)),
    OnMariaDb: ("cramped-mariadb", of_server("MariaDB", "mysql", MariaDbError)),
}


@pytest.fixture(scope="module", params=KINDS)
def cramped(request, platform, tmp_path_factory):
    """A backup of what does not fit onto the disk beside what is there now."""
    name, account = KINDS[request.param]
    with SmallDisk(400, account) as disk:
        made = request.param(platform, disk)
        made.platform, made.name = platform, name
        platform.register(name, tmp_path_factory.mktemp(name), made.service)
        made.backup = platform.ask("backup", "create", name)["id"]
        made.shrink()
        yield made
        made.end()


@pytest.mark.parametrize("free", [1, 12])
def test_a_full_disk_of_the_server(cramped, free):
    """Full before the first row, and in the middle of them."""
    cramped.disk.leave(free)
    said = cramped.platform.run("restore", "create", cramped.name, "--from", cramped.backup, "--overwrite")
    ended = said.json
    assert (ended["state"], ended["failure"]["code"]) == ("failed", "server_strained"), ended["failure"]
    for words in ("disk", "restore again", "as it was", ended["safety_backup"]):
        assert words in ended["failure"]["message"]
    assert cramped.ask("precious") == "2"
    assert cramped.databases() == ["cramped"]


def test_with_room_it_is_restored(cramped):
    cramped.disk.leave(100)
    said = cramped.platform.run("restore", "create", cramped.name, "--from", cramped.backup, "--overwrite")
    assert said.code == 0, said.err
    assert cramped.ask("bulk") == "14000"
    assert cramped.databases() == ["cramped"]
