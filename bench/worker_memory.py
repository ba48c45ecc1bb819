#!/usr/bin/env python3
"""How much memory the worker needs: the real function, backing up a large database and much media.

    bench/worker_memory.py [--mib 2048] [--mysql]

Starts a local stack and a PostgreSQL of its own in a temporary folder, fills a database with `--mib` MiB that do not
compress and a bucket with as many in small, middling and large files, backs both up, and prints what the worker's process
and its pg_dump held at the most: by the worker's own figure, which it logs, and as seen from outside. With `--mysql` the
database is a MariaDB, and there are no files. Seconds are printed to show that it ran; they measure the local stack, not S3.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import psycopg  # noqa: E402

from local.built import RELEASE  # noqa: E402
from local.mariadb import MariaDb, MariaDbError  # noqa: E402
from local.postgres import Postgres, PostgresError  # noqa: E402
from local.stack import Stack, StackError  # noqa: E402

MIB = 1024 * 1024
LIMIT_MIB = 256
BUCKET = "bench-media"
# Bytes of a row: 128 of them are a MiB.
ROW = 8192
# The most that MariaDB's RANDOM_BYTES gives.
RANDOM_BYTES = 1024
# MiB that one statement puts into MariaDB.
AT_ONCE = 64
# Sizes of files, and which share of all bytes is in files of that size.
FILES = [(16 * 1024, 0.02), (4 * MIB, 0.48), (64 * MIB, 0.50)]
# What the local stack holds of a byte that is stored, roughly, and how often each is stored.
HELD = 2.3 * 3


class Peaks(threading.Thread):
    """The most that processes of some names have held, as /proc says while they run."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(daemon=True)
        self.names = names
        self.bytes = dict.fromkeys(names, 0)
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.2):
            for status in Path("/proc").glob("[0-9]*/status"):
                try:
                    text = status.read_text()
                    command = (status.parent / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
                except OSError:
                    continue
                peak = re.search(r"^VmHWM:\s+(\d+) kB", text, re.MULTILINE)
                for name in self.names:
                    if peak and command.endswith(name):
                        self.bytes[name] = max(self.bytes[name], int(peak[1]) * 1024)


@dataclass
class Database:
    """A database to back up: its service, who may read it, and the program that dumps it."""

    service: dict[str, object]
    account: dict[str, str]
    program: str


@contextmanager
def postgres(folder: Path, mib: int) -> Iterator[Database]:
    with Postgres(folder / "postgres") as server:
        fill_postgres(server, mib)
        service = {"kind": "postgres", "host": server.host, "port": server.port}
        yield Database(service, {"username": "postgres", "password": server.password}, "pg_dump")


@contextmanager
def mariadb(mib: int) -> Iterator[Database]:
    with MariaDb() as server:
        server.create_database("bench", "CREATE TABLE noise (n INT PRIMARY KEY, bytes LONGBLOB)")
        bytes_ = f"CONCAT({', '.join([f'RANDOM_BYTES({RANDOM_BYTES})'] * (ROW // RANDOM_BYTES))})"
        rows, step = mib * MIB // ROW, AT_ONCE * MIB // ROW
        for first in range(1, rows + 1, step):
            numbers = f"seq_{first}_to_{min(first + step - 1, rows)}"
            server.run_sql(f"INSERT INTO noise SELECT seq, {bytes_} FROM {numbers}", "bench")
        service = {"kind": "mysql", "host": server.host, "port": server.port}
        yield Database(service, {"username": server.user, "password": server.password}, "mariadb-dump")


def fill_postgres(server: Postgres, mib: int) -> None:
    server.create_database("bench")
    with psycopg.connect(server.dsn_for("bench", "postgres", server.password)) as connection:
        # Random bytes gain nothing from the server's own compression either.
        connection.execute("CREATE UNLOGGED TABLE noise (n int, bytes bytea)")
        connection.execute("ALTER TABLE noise ALTER bytes SET STORAGE EXTERNAL")
        with connection.cursor().copy("COPY noise FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "bytea"])
            for number in range(mib * MIB // ROW):
                copy.write_row((number, os.urandom(ROW)))


def fill_bucket(s3, region: str, mib: int) -> int:
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": region})
    count = 0
    for size, share in FILES:
        content = os.urandom(size)
        for _ in range(max(1, int(mib * MIB * share / size))):
            s3.put_object(Bucket=BUCKET, Key=f"media/{count:06}.bin", Body=content)
            count += 1
    return count


def register(stack: Stack, database: Database, files: int, folder: Path) -> None:
    secret = stack.client("secretsmanager").create_secret(
        Name="holdfast/bench", SecretString=json.dumps(database.account)
    )["ARN"]
    more = {"name": "DEFAULT", "database": "bench", "secret_arn": secret, "tls": {"mode": "disable"}}
    storage = {"kind": "storage", "name": "MEDIA", "bucket": BUCKET, "prefix": "media/"}
    document = folder / "bench.json"
    document.write_text(json.dumps({"services": [database.service | more] + [storage] * bool(files)}))
    holdfast(stack, "apps", "put", "bench", "--file", str(document))


def holdfast(stack: Stack, *arguments: str) -> dict:
    done = subprocess.run(
        [RELEASE.holdfast, "--api", stack.api_url, "--output", "json", *arguments], env=stack.env, stdout=subprocess.PIPE, check=False
    )
    if done.returncode:
        raise StackError(f"`holdfast {' '.join(arguments)}` ended with {done.returncode}: {done.stdout.decode()[-2000:]}")
    return json.loads(done.stdout)


def own_figure(stack: Stack) -> int:
    """The most the worker says it has held, of all its calls."""
    pages = stack.client("logs").get_paginator("filter_log_events").paginate(logGroupName="/aws/lambda/holdfast/worker")
    lines = [event["message"] for page in pages for event in page["events"]]
    found = [json.loads(line)["peak_memory_bytes"] for line in lines if "peak_memory_bytes" in line]
    if not found:
        raise StackError("the worker has logged no peak_memory_bytes")
    return max(found)


def check_room(folder: Path, mib: int) -> None:
    needed = int(mib * MIB * HELD)
    memory = int(re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) * 1024
    disk = shutil.disk_usage(folder).free
    if memory < needed:
        raise StackError(f"the local stack may need {needed // MIB} MiB of memory, {memory // MIB} are free: use a smaller --mib")
    if disk < needed:
        raise StackError(f"up to {needed // MIB} MiB of disk are needed in {folder}, {disk // MIB} are free: use a smaller --mib")


def measure(folder: Path, mib: int, is_mysql: bool) -> int:
    check_room(folder, mib)
    with Stack(folder / "stack") as stack, mariadb(mib) if is_mysql else postgres(folder, mib) as database:
        stack.deploy(RELEASE.template)
        files = 0 if is_mysql else fill_bucket(stack.client("s3"), stack.region, mib)
        register(stack, database, files, folder)
        peaks = Peaks(("bootstrap", database.program))
        peaks.start()
        began = time.monotonic()
        backup = holdfast(stack, "backup", "create", "bench")
        seconds = time.monotonic() - began
        peaks.done.set()
        own = own_figure(stack)

    print(f"$ bench/worker_memory.py --mib {mib}{' --mysql' * is_mysql}")
    media = "no media" if is_mysql else f"{mib} MiB of media in {files} files"
    print(f"{mib} MiB of database, {media}; backed up in {seconds:.0f} s")
    print(f"{os.cpu_count()} cores and {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // MIB} MiB of memory, shared")
    print("with the database server and the local stack, whose speed the seconds show; they say nothing of S3.")
    print(f"  {'artifact':<24}{'bytes':>16}{'seconds':>10}")
    for artifact in backup["artifacts"]:
        print(f"  {artifact['object']['key'].split('/', 3)[3]:<24}{artifact['object']['size']:>16,}{artifact['milliseconds'] / 1000:>10.1f}")
    print(f"  {'peak memory':<24}{'MiB':>16}")
    print(f"  {'worker, its own figure':<24}{own / MIB:>16.1f}")
    print(f"  {'worker, from outside':<24}{peaks.bytes['bootstrap'] / MIB:>16.1f}    (the largest function on this machine)")
    dumping = peaks.bytes[database.program]
    print(f"  {database.program + ', from outside':<24}{dumping / MIB:>16.1f}")
    total = own + dumping
    print(f"  {'both together':<24}{total / MIB:>16.1f}    of {LIMIT_MIB} MiB")
    return 0 if total <= LIMIT_MIB * MIB else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=2048, help="MiB of database, and of media")
    parser.add_argument("--mysql", action="store_true", help="a MariaDB, and no media")
    wanted = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="holdfast-bench-"))
    # Being told to end cleans up as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return measure(folder, wanted.mib, wanted.mysql)
    except (StackError, PostgresError, MariaDbError) as error:
        print(f"bench failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
