#!/usr/bin/env python3
"""How fast `holdfast dump` is beside stock `pg_dump`, on one server and in one run.

    bench/dump.py [--mib 1024] [--rounds 3] [--sets big,small,wide,noise] [--to s3|file] [--proxy] [--alone]

Fills a throwaway server with data sets of about `--mib` MiB of COPY text each, dumps each of them with every contestant in
turn, `--rounds` times, and prints the medians: seconds by the wall, seconds of CPU of the client, of the server and of the S3
endpoint, the most memory of all of the client's processes together, bytes stored, and how the time compares with the bound:
all that CPU divided by the cores.

Dumps go to an S3 endpoint on this machine that answers each request `--latency` milliseconds later: those of `pg_dump` through
`aws s3 cp`. With `--to file` they go to files in `--folder`, which is best in memory. With `--proxy` every connection to the server
goes through a proxy that gives it 50 MB/s and adds 1 ms, as from another machine.

The server is PostgreSQL 17 with zstd (bench/zstd_server.py). `--installed` takes the newest one of this machine, and
`--dsn DSN --clients DIRS` one that runs on it, in databases named bench_…, which are dropped again.
"""

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import psycopg  # noqa: E402
import zstd_server  # noqa: E402
from dump_run import Run, run  # noqa: E402
from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: E402
from s3_endpoint import AWS, AWSCLI, EXAMPLES, Endpoint, install_awscli  # noqa: E402
from slow_proxy import Proxy  # noqa: E402

from local.built import RELEASE  # noqa: E402
from local.postgres import Postgres, PostgresError  # noqa: E402

MIB = 1024 * 1024
# A server that is filled once and read often. What is made and filled in one transaction has no log then.
SETTINGS = {
    "shared_buffers": "512MB", "max_wal_size": "8GB", "autovacuum": "off", "wal_level": "minimal", "max_wal_senders": "0",
}
# Nothing compresses a set to less than this part of its COPY text.
LEAST_PART = 1 / 20

# SQL that fills a database with about {mib} MiB of COPY text.
SETS = {
    "big": """
        CREATE TABLE big AS SELECT n AS id, 'customer ' || n % 10007 AS name, md5(n::text) AS token,
            '2026-01-01'::timestamptz + n * interval '17 s' AS at, n % 977 / 7.0 AS amount, 'Käse, Brot und ' || n % 31 AS note
        FROM generate_series(1, {mib} * 8400) n;""",
    "small": """
        SELECT format('CREATE TABLE t%s AS SELECT n, md5(n::text) AS m FROM generate_series(1, %s) n', t, {mib} * 25000 / 2000)
        FROM generate_series(1, 2000) t \\gexec""",
    "wide": """
        CREATE TABLE wide AS SELECT n AS id, (SELECT string_agg(md5((n * 400 + i)::text) || ' lorem ipsum dolor ', '')
            FROM generate_series(1, 400) i) AS page FROM generate_series(1, {mib} * 50) n;""",
    "noise": """
        CREATE EXTENSION IF NOT EXISTS pgcrypto;
        CREATE TABLE noise AS SELECT n AS id, gen_random_bytes(1000) || gen_random_bytes(1000) AS bytes
        FROM generate_series(1, {mib} * 260) n;""",
}


def contestants(clients: Path, pattern: str, zstd: bool, options: argparse.Namespace) -> dict[str, str]:
    """Shell commands by name; $DSN is the database and $OUT what to write."""
    pg_dump, aws = shlex.quote(str(clients / "pg_dump")), f"{shlex.quote(str(AWS))} s3 cp --only-show-errors"

    def stock(of: str) -> dict[str, str]:
        one, many = f'{pg_dump} -Fc {of} -d "$DSN"', f'{pg_dump} -Fd -j {options.stock_jobs} {of} -d "$DSN"'
        if options.to == "file":
            one, many = f"exec {one} -f $OUT", f"exec {many} -f $OUT"
        else:
            one, many = f"{one} | {aws} - s3://$OUT", f"{many} -f $FOLDER/out; {aws} --recursive $FOLDER/out s3://$OUT"
        return {f"pg_dump -Fc {of}".rstrip(): one, f"pg_dump -Fd -j{options.stock_jobs} {of}".rstrip(): many}

    def ours(compress: str) -> dict[str, str]:
        to = "$OUT" if options.to == "file" else "s3://$OUT"
        command = f"{shlex.quote(str(RELEASE.holdfast))} dump --output {to} --clients {shlex.quote(pattern)} --jobs {options.jobs}"
        return {f"holdfast {compress}": f'exec {command} --compress {compress} --dsn "$DSN sslmode=disable"'}

    stocks = {} if options.alone else stock("") | (stock("-Z zstd") if zstd else {})
    return stocks | ours("gzip:6") | (ours("zstd:1") | ours("zstd:3") if zstd else {})


def measure(command: str, dsn: str, postmaster: int, endpoint: Endpoint | None, options: argparse.Namespace) -> Run:
    """One dump, which has to be there afterwards, and is gone when this returns."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        out = "backups/dump" if endpoint else f"{folder}/out"
        environment = (endpoint.environment if endpoint else dict(os.environ)) | {"DSN": dsn, "OUT": out, "FOLDER": folder}
        done = run(command, environment, postmaster, endpoint.process.pid if endpoint else None)
        if endpoint:
            done.size = sum(size for path, size in endpoint.stored().items() if path.startswith(out))
            endpoint.counts()
        else:
            done.size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    if done.size < options.mib * MIB * LEAST_PART:
        raise SystemExit(f"`{command}` ended well and stored {done.size} bytes, which is too little to be true")
    return done


def table(name: str, runs: dict[str, list[Run]]) -> str:
    def median(command: str, what: str) -> float:
        return statistics.median(getattr(one, what) for one in runs[command])

    first = median(next(iter(runs)), "wall")
    lines = [f"{name:<26}   wall s    faster   client s   server s       S3 s   of bound   MiB held           bytes"]
    for command in runs:
        wall, bound = median(command, "wall"), median(command, "bound")
        cpu = "".join(f"{median(command, who):>11.2f}" for who in ("client", "server", "endpoint"))
        lines.append(
            f"  {command:<24} {wall:>8.2f} {first / wall:>8.2f}x{cpu} {wall / bound:>9.2f}x "
            f"{median(command, 'memory') / MIB:>10.0f} {int(median(command, 'size')):>15,}"
        )
    return "\n".join(lines)


def fill(name: str, dsn: str, clients: Path, mib: int) -> str:
    """Makes the database of a set, and returns its DSN."""
    database = f"bench_{name}"
    with psycopg.connect(dsn, autocommit=True) as session:
        session.execute(f"DROP DATABASE IF EXISTS {database}")
        session.execute(f"CREATE DATABASE {database} TEMPLATE template0")
    target = make_conninfo(dsn, dbname=database)
    sql = SETS[name].format(mib=mib) + "\nVACUUM (FREEZE, ANALYZE); CHECKPOINT;"
    subprocess.run([clients / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", target], input=sql, text=True, check=True)
    return target


def bench(options: argparse.Namespace, dsn: str, clients: Path, pattern: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as session:
        version = session.info.parameter_status("server_version")
        backend = session.execute("SELECT pg_backend_pid()").fetchone()[0]
        postmaster = int(Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()[1])
    # Told by the program itself, which looks for compression before it connects.
    probe = subprocess.run(
        [clients / "pg_dump", "-Fc", "-Z", "zstd", "-h", "/nonexistent"], check=False, capture_output=True, text=True
    )
    zstd = "compress" not in probe.stderr
    print(f"PostgreSQL {version}, {os.cpu_count()} cores shared by all, {options.jobs} jobs, medians of {options.rounds}, to "
          + (f"S3 that answers after {options.latency} ms, {AWSCLI}" if options.to == "s3" else options.folder)
          + (", 50 MB/s and 1 ms a connection" if options.proxy else ""), flush=True)
    for name in options.sets.split(","):
        target = fill(name, dsn, clients, options.mib)
        if options.proxy:
            parts = conninfo_to_dict(dsn)
            proxy = Proxy(parts["host"], int(parts.get("port", 5432)))
            proxy.start()
            target = make_conninfo(target, host="127.0.0.1", port=proxy.port)
        commands = contestants(clients, pattern, zstd, options)
        runs: dict[str, list[Run]] = {command: [] for command in commands}
        with ExitStack() as stack:
            endpoint = stack.enter_context(Endpoint(options.latency)) if options.to == "s3" else None
            for _ in range(options.rounds):
                for command, shell in commands.items():
                    runs[command].append(measure(shell, target, postmaster, endpoint, options))
        print(table(f"{name}, {options.mib} MiB", runs), flush=True)
        with psycopg.connect(dsn, autocommit=True) as session:
            session.execute(f"DROP DATABASE bench_{name}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=4, help="sessions of holdfast that read")
    parser.add_argument("--stock-jobs", type=int, default=os.cpu_count(), help="those of pg_dump -Fd (default: the cores)")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--to", choices=("s3", "file"), default="s3")
    parser.add_argument("--latency", type=int, default=20, help="milliseconds before each answer of S3")
    parser.add_argument("--proxy", action="store_true")
    parser.add_argument("--alone", action="store_true", help="without the rivals")
    parser.add_argument("--folder", default="/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir())
    parser.add_argument("--installed", action="store_true", help="the newest server of this machine")
    parser.add_argument("--dsn", help="a server that is there, on this machine, as its superuser")
    parser.add_argument("--clients", help="where its clients are, with {major} for its major version")
    options = parser.parse_args()
    if unknown := set(options.sets.split(",")) - set(SETS):
        parser.error(f"no such set: {', '.join(sorted(unknown))}")
    return options


def main() -> int:
    options = arguments()
    needed = [RELEASE.holdfast] + ([EXAMPLES / "synthetic_s3"] if options.to == "s3" else [])
    if missing := [str(program) for program in needed if not program.exists()]:
        raise SystemExit(f"{' and '.join(missing)} missing: run `make bench-dump`")
    if options.to == "s3":
        install_awscli()
    if options.dsn:
        with psycopg.connect(options.dsn) as session:
            major = session.info.server_version // 10_000
        pattern = options.clients or "/usr/lib/postgresql/{major}/bin"
        bench(options, options.dsn, Path(pattern.replace("{major}", str(major))), pattern)
        return 0
    try:
        programs = None if options.installed else zstd_server.programs()
        with Postgres(programs=programs, settings=SETTINGS) as server:
            pattern = str(server.programs).replace(f"/{server.version}/", "/{major}/")
            bench(options, server.dsn, server.programs, pattern)
    except PostgresError as error:
        raise SystemExit(str(error)) from error
    return 0


if __name__ == "__main__":
    sys.exit(main())
