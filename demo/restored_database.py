"""The dump restored by the stock `pg_restore`, and compared with the database it was taken from."""

from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from local.postgres import SUPERUSER, Postgres
from report import Failure
from stock_tools import output_of

# Tables, partitioned tables and materialized views; not the system's own.
TABLES = """
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    ORDER BY 1, 2
"""
# A fingerprint of the rows whatever their order on disk.
CONTENT = "SELECT count(*), coalesce(md5(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\")), '') FROM {} t"


@dataclass(frozen=True)
class Content:
    """How many rows a table has, and an MD5 over all of them."""

    rows: int
    digest: str


def contents_list(server: Postgres, dump: Path) -> str:
    """What `pg_restore -l` prints: the archive's table of contents."""
    return output_of(server.programs / "pg_restore", "-l", dump)


def restore(server: Postgres, dump: Path, database: str) -> None:
    """Restore `dump` into a fresh `database`; the first error ends it."""
    server.drop_database(database)
    server.create_database(database)
    output_of(
        server.programs / "pg_restore", "--exit-on-error", "--single-transaction", "-d", database, dump,
        env={
            "PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": SUPERUSER, "PGPASSWORD": server.password,
            "PGSSLMODE": "verify-full" if server.tls else "disable", "PGSSLROOTCERT": str(server.ca_file),
        },
    )


def contents(server: Postgres, database: str) -> dict[str, Content]:
    """Every table of `database` with its content, all at one moment."""
    with psycopg.connect(server.dsn_for(database, SUPERUSER, server.password)) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        # The text of a row must not depend on the session.
        connection.execute("SET LOCAL TimeZone = 'UTC'")
        tables = connection.execute(TABLES).fetchall()
        return {
            f"{schema}.{name}": Content(*connection.execute(
                sql.SQL(CONTENT).format(sql.Identifier(schema, name))
            ).fetchone())
            for schema, name in tables
        }


def compare(before: dict[str, Content], after: dict[str, Content]) -> None:
    """A Failure names the first table that is missing, added or different."""
    if not before:
        raise Failure("the source database has no tables, so the comparison would prove nothing")
    for name in sorted(before.keys() | after.keys()):
        here, there = before.get(name), after.get(name)
        if there is None:
            raise Failure(f"table {name} is missing in the restored database")
        if here is None:
            raise Failure(f"table {name} is in the restored database only")
        if here.rows != there.rows:
            raise Failure(f"table {name} had {here.rows} rows and has {there.rows} after the restore")
        if here.digest != there.digest:
            raise Failure(f"the rows of table {name} differ after the restore, though there are as many")
