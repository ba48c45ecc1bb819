#!/usr/bin/env python3
"""How fast `holdfast restore` is beside stock `pg_restore`, of the same archive, on one server and in one run.

    bench/restore.py [--mib 1024] [--rounds 3] [--sets big,several,small] [--compress zstd:3] [--jobs 2,4] [--into missing]

Fills a throwaway server with data sets of about `--mib` MiB of COPY text each, dumps each of them once with `holdfast dump`, and
restores that with every contestant in turn, `--rounds` times: into a database that is `missing`, which `createdb` has to make for
`pg_restore`; or into an `empty` one, which is there before the time begins, and which Holdfast replaces. Prints the medians: seconds
by the wall, seconds of CPU of the client and of the server, the most memory of all of the client's processes together, and how the
time compares with the bound: all that CPU divided by the cores. Rows and a checksum of each table are compared once for every
contestant.

The server is PostgreSQL 17 with zstd (bench/zstd_server.py), without fsync, as the archive is in memory: what is measured is the
work, and not the disk. `--installed` takes the newest server of this machine.
"""

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import psycopg  # noqa: E402
import zstd_server  # noqa: E402
from dump_run import Run, run  # noqa: E402
from psycopg.conninfo import make_conninfo  # noqa: E402

from local.built import RELEASE  # noqa: E402
from local.postgres import Postgres, PostgresError  # noqa: E402

MIB = 1024 * 1024
SETTINGS = {
    "shared_buffers": "512MB", "max_wal_size": "8GB", "autovacuum": "off", "wal_level": "minimal", "max_wal_senders": "0",
    "maintenance_work_mem": "128MB",
}
ROWS = """SELECT n AS id, 'customer ' || n % 10007 AS name, md5(n::text) AS token, '2026-01-01'::timestamptz + n * interval '17 s'
    AS at, n % 977 / 7.0 AS amount, 'Käse, Brot und ' || n % 31 AS note FROM generate_series(1, {rows}) n"""
INDEXED = "ALTER TABLE {table} ADD PRIMARY KEY (id); CREATE INDEX ON {table} (name, at);"

# SQL that fills a database with about {mib} MiB of COPY text, and makes indexes as a site has them.
SETS = {
    "big": f"CREATE TABLE big AS {ROWS.format(rows='{mib} * 8400')}; {INDEXED.format(table='big')}",
    "several": "".join(
        f"CREATE TABLE t{n} AS {ROWS.format(rows='{mib} * 1050')}; {INDEXED.format(table=f't{n}')}\n" for n in range(8)
    ),
    "small": """
        SELECT format('CREATE TABLE t%s AS SELECT n, md5(n::text) AS m FROM generate_series(1, %s) n; ALTER TABLE t%s ADD PRIMARY KEY (n)',
            t, {mib} * 25000 / 2000, t)
        FROM generate_series(1, 2000) t \\gexec""",
}


def contestants(clients: Path, pattern: str, jobs: list[int], into: str) -> dict[str, str]:
    """Shell commands by name; $ARCHIVE is restored into the database $NAME at $DSN, which is empty or not there."""
    pg_restore, ours = shlex.quote(str(clients / "pg_restore")), shlex.quote(str(RELEASE.holdfast))
    createdb = f'{shlex.quote(str(clients / "createdb"))} --maintenance-db "$SERVER" -T template0 "$NAME" && '
    commands = {}
    for count in jobs:
        restore = f'exec {pg_restore} --exit-on-error -j{count} -d "$DSN" "$ARCHIVE"'
        commands[f"pg_restore -j{count}"] = restore if into == "empty" else createdb + restore
    for count in jobs:
        commands[f"holdfast --jobs {count}"] = (
            f'exec {ours} restore --jobs {count} --clients {shlex.quote(pattern)} --dsn "$DSN sslmode=disable" "$ARCHIVE"'
        )
    return commands


def facts(dsn: str) -> list[tuple]:
    """How many rows each table has, and a checksum of them; how many indexes there are."""
    with psycopg.connect(dsn) as session:
        tables = session.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1")
        found = [
            session.execute(f'SELECT \'{table}\', count(*), sum(hashtext(t::text)) FROM "{table}" t').fetchone()
            for (table,) in tables.fetchall()[:50]
        ]
        return [*found, session.execute("SELECT count(*) FROM pg_index WHERE indrelid >= 16384").fetchone()]


def table(name: str, runs: dict[str, list[Run]]) -> str:
    def median(command: str, what: str) -> float:
        return statistics.median(getattr(one, what) for one in runs[command])

    first = median(next(iter(runs)), "wall")
    lines = [f"{name:<26}   wall s    faster   client s   server s   of bound   MiB held"]
    for command in runs:
        wall, bound = median(command, "wall"), median(command, "bound")
        cpu = "".join(f"{median(command, who):>11.2f}" for who in ("client", "server"))
        lines.append(
            f"  {command:<24} {wall:>8.2f} {first / wall:>8.2f}x{cpu} {wall / bound:>9.2f}x {median(command, 'memory') / MIB:>10.0f}"
        )
    return "\n".join(lines)


def bench(options: argparse.Namespace, server: Postgres, pattern: str, folder: Path) -> None:
    clients = server.programs
    session = psycopg.connect(server.dsn, autocommit=True)
    backend = session.execute("SELECT pg_backend_pid()").fetchone()[0]
    postmaster = int(Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()[1])
    print(f"PostgreSQL {session.info.parameter_status('server_version')}, {os.cpu_count()} cores shared with the server, "
          f"archives of {options.compress}, medians of {options.rounds}", flush=True)
    for name in options.sets.split(","):
        session.execute("CREATE DATABASE bench_source TEMPLATE template0")
        source = make_conninfo(server.dsn, dbname="bench_source")
        sql = SETS[name].format(mib=options.mib) + "\nVACUUM (FREEZE, ANALYZE); CHECKPOINT;"
        subprocess.run([clients / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", source], input=sql, text=True, check=True)
        archive = folder / f"{name}.dump"
        dump = [RELEASE.holdfast, "dump", "--dsn", f"{source} sslmode=disable", "--output", archive, "--clients", pattern]
        subprocess.run([*dump, "--compress", options.compress], check=True, stdout=subprocess.DEVNULL)
        expected = facts(source)
        session.execute("DROP DATABASE bench_source")

        commands = contestants(clients, pattern, [int(count) for count in options.jobs.split(",")], options.into)
        runs: dict[str, list[Run]] = {command: [] for command in commands}
        given = {"NAME": "bench_restored", "SERVER": server.dsn, "ARCHIVE": str(archive)}
        target = make_conninfo(server.dsn, dbname=given["NAME"])
        for _ in range(options.rounds):
            for command, shell in commands.items():
                if options.into == "empty":
                    session.execute("CREATE DATABASE bench_restored TEMPLATE template0")
                session.execute("CHECKPOINT")
                environment = dict(os.environ) | given | {"DSN": target}
                runs[command].append(run(shell, environment, postmaster, None))
                if len(runs[command]) == 1 and facts(target) != expected:
                    raise SystemExit(f"`{command}` did not restore what was dumped")
                session.execute("DROP DATABASE bench_restored")
        size = archive.stat().st_size / MIB
        print(table(f"{name}, {options.mib} MiB ({size:.0f})", runs), flush=True)
        archive.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--jobs", default="2,4", help="sessions that restore")
    parser.add_argument("--into", choices=["missing", "empty"], default="missing", help="what database it goes into")
    parser.add_argument("--compress", default="zstd:3")
    parser.add_argument("--folder", default="/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir())
    parser.add_argument("--installed", action="store_true", help="the newest server of this machine")
    options = parser.parse_args()
    if not RELEASE.holdfast.exists():
        raise SystemExit(f"{RELEASE.holdfast} is missing: run `make bench-restore`")
    try:
        programs = None if options.installed else zstd_server.programs()
        with (
            tempfile.TemporaryDirectory(dir=options.folder) as folder,
            Postgres(programs=programs, settings=SETTINGS) as server,
        ):
            pattern = str(server.programs).replace(f"/{server.version}/", "/{major}/")
            bench(options, server, pattern, Path(folder))
    except PostgresError as error:
        raise SystemExit(str(error)) from error
    return 0


if __name__ == "__main__":
    sys.exit(main())
