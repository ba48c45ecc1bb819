"""Restores of databases that do not fit into one invocation: they go on in the next one, and nothing is left of one that is given up."""

import time

import psycopg
import pytest

PATIENCE = 120
ROWS = 20_000
# An index that is not made as long as there is a role `holdup`, but only where a database is restored.
SQL = f"""
CREATE TABLE long AS SELECT n, md5(n::text) AS text FROM generate_series(1, {ROWS}) n;
ALTER TABLE long ADD PRIMARY KEY (n);
CREATE FUNCTION held(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
    WHILE current_database() LIKE 'holdfast%' AND EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'holdup')
    LOOP PERFORM pg_catalog.pg_sleep(0.05); END LOOP; RETURN n; END $$;
CREATE INDEX held_up ON long (held(n));
"""
# Of these seconds a function keeps most for the end: a slice has about eight.
INVOCATION = 45


class Shop:
    """An application whose database takes several slices to restore."""

    def __init__(self, platform, folder):
        self.platform, self.server = platform, platform.server
        service = platform.database("leisurely", SQL)
        self.server.run_sql("ALTER ROLE leisurely CREATEDB")
        self.outside = psycopg.connect(self.server.dsn, autocommit=True)
        platform.register("leisurely", folder, service)
        self.backup = platform.ask("backup", "create", "leisurely")["id"]
        self.server.run_sql("DELETE FROM long WHERE n % 3 = 0", "leisurely")

    def ask(self, sql):
        return [row[0] for row in self.outside.execute(sql)]

    def rows(self):
        return self.server.run_sql("SELECT count(*) FROM long", "leisurely").strip()

    def left(self):
        return self.ask("SELECT datname FROM pg_database WHERE datname LIKE 'holdfast%'")

    def restore(self):
        """A restore that has gone on in a second slice, and cannot come to its end."""
        self.server.run_sql("CREATE ROLE holdup")
        id = self.platform.ask("restore", "create", "leisurely", "--from", self.backup, "--overwrite", "--detach")["id"]
        # Each slice gives it another name.
        names, deadline = set(), time.monotonic() + PATIENCE
        while len(names) < 2:
            assert time.monotonic() < deadline, f"it does not go on: {self.platform.ask('restore', 'show', 'leisurely', id)}"
            names.update(self.left())
            time.sleep(0.05)
        return id

    def end(self, id):
        self.platform.run("restore", "follow", "leisurely", id)
        return self.platform.ask("restore", "show", "leisurely", id)


@pytest.fixture(scope="module")
def shop(platform, tmp_path_factory):
    with platform.timeout("Restore", INVOCATION):
        yield Shop(platform, tmp_path_factory.mktemp("leisurely"))


def test_one_that_is_cancelled_leaves_nothing(shop):
    id = shop.restore()
    shop.platform.run("restore", "cancel", "leisurely", id)
    ended = shop.end(id)
    shop.server.run_sql("DROP ROLE holdup")
    assert ended["state"] == "cancelled"
    assert shop.left() == []
    assert shop.rows() == str(ROWS - ROWS // 3)


def test_it_goes_on_until_everything_is_there(shop):
    id = shop.restore()
    shop.server.run_sql("DROP ROLE holdup")
    ended = shop.end(id)
    assert ended["state"] == "succeeded", ended["failure"]
    assert shop.platform.failed_calls(id) == 0
    assert shop.left() == []
    assert shop.rows() == str(ROWS)
    (run,) = ended["runs"]
    assert (run["restored"]["rows"], run["restored"]["rows_compared"]) == (ROWS, True)
