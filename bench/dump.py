#!/usr/bin/env python3
"""How fast `holdfast dump` is beside stock `pg_dump`, on one server and in one run.

    bench/dump.py [--mib 1024] [--rounds 3] [--sets big,small,wide,noise] [--proxy] [--dsn DSN --clients DIRS]

Fills a throwaway server (or the one of `--dsn`, in databases named bench_…, which it drops again) with data sets of about
`--mib` MiB of COPY text each, dumps each of them with every contestant in turn, `--rounds` times, and prints the medians:
seconds by the wall, seconds of CPU of the client and of the server, the most memory of all of the client's processes
together, and bytes. With `--proxy` every connection goes through a proxy that gives it 50 MB/s and adds 1 ms, as from
another machine. Everything is written to files in `--folder`, which is best in memory.

zstd needs a server from 16 on whose pg_dump was built with it: Debian 13 has one, the wheel that the tests use has not.
"""

import argparse
import asyncio
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import psycopg  # noqa: E402
from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: E402

from local.postgres import Postgres, PostgresError  # noqa: E402

HOLDFAST = ROOT / "target" / "release" / "holdfast"
MIB = 1024 * 1024
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
# Through the proxy: bytes a second and connection, and seconds each way.
RATE = 50_000_000
DELAY = 0.0005

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


@dataclass
class Run:
    """What one dump cost."""

    wall: float
    client: float
    server: float
    memory: int
    size: int


def contestants(clients: Path, pattern: str, zstd: bool, jobs: int) -> dict[str, str]:
    """Shell commands by name; $DSN is the database and $OUT what to write."""
    pg_dump, holdfast = shlex.quote(str(clients / "pg_dump")), shlex.quote(str(HOLDFAST))
    ours = f"{holdfast} dump --dsn \"$DSN sslmode=disable\" --output $OUT --clients {shlex.quote(pattern)} --jobs {jobs}"
    commands = {
        "pg_dump -Fc": f"{pg_dump} -Fc -d \"$DSN\" -f $OUT",
        "pg_dump -Fd -j": f"{pg_dump} -Fd -j {jobs} -d \"$DSN\" -f $OUT",
        "holdfast gzip:6": f"{ours} --compress gzip:6",
    }
    if zstd:
        commands |= {
            "pg_dump -Fc -Z zstd": f"{pg_dump} -Fc -Z zstd -d \"$DSN\" -f $OUT",
            "pg_dump -Fd -j -Z zstd": f"{pg_dump} -Fd -j {jobs} -Z zstd -d \"$DSN\" -f $OUT",
            "holdfast zstd:1": f"{ours} --compress zstd:1",
            "holdfast zstd:3": f"{ours} --compress zstd:3",
        }
    return commands


def cpu_of_server(postmaster: int) -> float:
    """Seconds of CPU of the server: its processes that have ended, and those that run."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        own = int(stat.parent.name) == postmaster
        if own or int(fields[1]) == postmaster:
            total += sum(int(ticks) for ticks in fields[11 : 15 if own else 13]) / TICK
    return total


class Memory(threading.Thread):
    """The most that a process and its children have held together."""

    def __init__(self, leader: int) -> None:
        super().__init__(daemon=True)
        self.leader = leader
        self.bytes = 0
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.05):
            total = 0
            for stat in Path("/proc").glob("[0-9]*/stat"):
                try:
                    fields = stat.read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                # Of one process group: what the command has started, and nothing else.
                if int(fields[2]) == self.leader:
                    total += int(fields[21]) * PAGE
            self.bytes = max(self.bytes, total)


def measure(command: str, dsn: str, out: Path, postmaster: int) -> Run:
    server = cpu_of_server(postmaster)
    began = time.monotonic()
    env = os.environ | {"DSN": dsn, "OUT": str(out)}
    process = subprocess.Popen(["sh", "-c", f"exec {command}"], env=env, stdout=subprocess.DEVNULL, start_new_session=True)
    memory = Memory(process.pid)
    memory.start()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    memory.done.set()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"`{command}` ended with {process.returncode}")
    # Sessions end a moment after the client.
    time.sleep(0.3)
    server = cpu_of_server(postmaster) - server
    files = [file for file in out.rglob("*") if file.is_file()] if out.is_dir() else [out]
    size = sum(file.stat().st_size for file in files)
    shutil.rmtree(out) if out.is_dir() else out.unlink()
    return Run(wall, usage.ru_utime + usage.ru_stime, server, memory.bytes, size)


class Proxy(threading.Thread):
    """Gives each connection RATE bytes a second from the server, and adds DELAY each way."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(daemon=True)
        self.to = (host, port)
        self.port = 0
        self.listening = threading.Event()

    def run(self) -> None:
        asyncio.run(self.serve())

    async def serve(self) -> None:
        server = await asyncio.start_server(self.connect, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.listening.set()
        await server.serve_forever()

    async def connect(self, reader, writer) -> None:
        host, port = self.to
        path = f"{host}/.s.PGSQL.{port}"
        upstream = await (asyncio.open_unix_connection(path) if host.startswith("/") else asyncio.open_connection(host, port))
        ways = [self.pump(reader, upstream[1], None), self.pump(upstream[0], writer, RATE)]
        await asyncio.gather(*ways, return_exceptions=True)

    async def pump(self, reader, writer, rate: int | None) -> None:
        free = 0.0
        while data := await reader.read(256 * 1024):
            now = time.monotonic()
            await asyncio.sleep(max(DELAY, free - now))
            free = max(free, now) + (len(data) / rate if rate else 0)
            writer.write(data)
            await writer.drain()
        writer.close()


def table(name: str, runs: dict[str, list[Run]]) -> str:
    def median(command: str, what: str) -> float:
        return statistics.median(getattr(run, what) for run in runs[command])

    first = median(next(iter(runs)), "wall")
    lines = [f"{name:<26}   wall s    faster   client s   server s    MiB held      bytes"]
    for command in runs:
        wall = median(command, "wall")
        lines.append(
            f"  {command:<24} {wall:>8.2f} {first / wall:>8.2f}x {median(command, 'client'):>10.2f} "
            f"{median(command, 'server'):>10.2f} {median(command, 'memory') / MIB:>11.0f} {int(median(command, 'size')):>15,}"
        )
    return "\n".join(lines)


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
    print(f"PostgreSQL {version}, {os.cpu_count()} cores shared with the server, {options.jobs} jobs, "
          f"medians of {options.rounds}" + (", 50 MB/s and 1 ms a connection" if options.proxy else ""))
    for name in options.sets.split(","):
        database = f"bench_{name}"
        with psycopg.connect(dsn, autocommit=True) as session:
            session.execute(f"DROP DATABASE IF EXISTS {database}")
            session.execute(f"CREATE DATABASE {database} TEMPLATE template0")
        target = make_conninfo(dsn, dbname=database)
        fill = SETS[name].format(mib=options.mib) + "\nVACUUM (FREEZE, ANALYZE); CHECKPOINT;"
        subprocess.run([clients / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", target], input=fill, text=True, check=True)
        if options.proxy:
            parts = conninfo_to_dict(dsn)
            proxy = Proxy(parts["host"], int(parts.get("port", 5432)))
            proxy.start()
            proxy.listening.wait()
            target = make_conninfo(target, host="127.0.0.1", port=proxy.port)
        commands = contestants(clients, pattern, zstd, options.jobs)
        runs: dict[str, list[Run]] = {command: [] for command in commands}
        for _ in range(options.rounds):
            for command, shell in commands.items():
                with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                    runs[command].append(measure(shell, target, Path(folder) / "out", postmaster))
        print(table(f"{name}, {options.mib} MiB", runs), flush=True)
        with psycopg.connect(dsn, autocommit=True) as session:
            session.execute(f"DROP DATABASE {database}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--proxy", action="store_true")
    parser.add_argument("--folder", default="/dev/shm" if os.path.isdir("/dev/shm") else None)
    parser.add_argument("--dsn", help="a server that is there, on this machine, as its superuser")
    parser.add_argument("--clients", help="where its clients are, with {major} for its major version")
    options = parser.parse_args()
    if not HOLDFAST.exists():
        raise SystemExit(f"{HOLDFAST} is missing: run `make build`")
    if options.dsn:
        with psycopg.connect(options.dsn) as session:
            major = session.info.server_version // 10_000
        pattern = options.clients or "/usr/lib/postgresql/{major}/bin"
        bench(options, options.dsn, Path(pattern.replace("{major}", str(major))), pattern)
        return 0
    try:
        with Postgres(settings={"shared_buffers": "512MB", "max_wal_size": "8GB", "autovacuum": "off"}) as server:
            major = str(server.version)
            programs = server.programs
            pattern = str(programs).replace(major, "{major}")
            bench(options, server.dsn, programs, pattern)
    except PostgresError as error:
        raise SystemExit(str(error)) from error
    return 0


if __name__ == "__main__":
    sys.exit(main())
