"""Many applications that are due in one tick: every one is backed up once, none twice, none is lost.

    tests/chaos/load.py [--applications N] [--throttled SHARE] [--connections N] [--patience SECONDS] [--wait-scale SHARE]

Half of them are databases of one server, half are folders of one bucket. `--throttled` is the share of calls to S3 and DynamoDB
that are answered with `SlowDown` and its like; `--connections` is how many the database server accepts; `--wait-scale` is how
much of its waits the state machine takes. Hundreds of jobs that wait for a seat of their server and take a tenth of it ask so often
that nothing else gets on.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "demo")]

import psycopg  # noqa: E402
import stored_objects  # noqa: E402
from chaos.application import OWNER, SCHEMA, TOTAL, tables_of  # noqa: E402
from chaos.auditor import unpacked  # noqa: E402
from chaos.lane import Lane  # noqa: E402
from chaos.plan import Fault  # noqa: E402
from chaos.records import Records  # noqa: E402
from chaos.story import wind_back  # noqa: E402
from platform_under_test import EVENT  # noqa: E402
from report import Failure  # noqa: E402
from stack_processes import children  # noqa: E402

DATABASES = 20
FILES = 3
# Of each kind so many are downloaded and compared.
SAMPLES = 5
TICK_SECONDS = 15
PATIENCE = 900
CONNECTIONS = 400
# Databases of one server that are dumped at a time: the default of the template's DumpsPerServer.
DUMPS = 4
BUCKET = "load-media"
MODEL = "model"


@dataclass(frozen=True)
class Throttling:
    """A plan whose only trouble is that too much is asked."""

    share: float

    def of_call(self, operation: str, number: int) -> Fault | None:
        if not operation.startswith(("s3.", "dynamodb.")):
            return None
        return Fault("throttled") if Random(f"{operation} {number}").random() < self.share else None


@dataclass
class Loaded:
    """What came of it."""

    applications: int
    seconds: float = 0.0
    ticks: list[dict] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)
    sessions: int = 0
    databases: int = 0
    workers: int = 0

    def __str__(self) -> str:
        lines = [f"{self.applications} applications in {self.seconds:.0f} s, due in one tick"]
        lines += [f"  {count:7,}  {name}" for name, count in sorted(self.counts.items())]
        lines.append(f"  {self.sessions:7,}  sessions on the database server at a time, at most")
        lines.append(f"  {self.databases:7,}  databases that have any at a time, at most")
        lines.append(f"  {self.workers:7,}  processes of functions at a time, at most")
        lines += [f"  tick: {tick}" for tick in self.ticks]
        return "\n".join([*lines, f"{len(self.findings)} findings", *self.findings])


class Watch(threading.Thread):
    """Counts sessions on the server, the databases they are in, and workers, several times a second, until it is told to stop."""

    def __init__(self, server, stack: int) -> None:
        super().__init__(daemon=True)
        self.server, self.stack, self.sessions, self.databases, self.workers = server, stack, 0, 0, 0
        self._stopped = threading.Event()

    def run(self) -> None:
        sql = f"SELECT count(*), count(DISTINCT datname) FROM pg_stat_activity WHERE usename = '{OWNER}'"
        with psycopg.connect(self.server.dsn, autocommit=True) as connection:
            while not self._stopped.wait(0.5):
                sessions, databases = connection.execute(sql).fetchone()
                self.sessions, self.databases = max(self.sessions, sessions), max(self.databases, databases)
                self.workers = max(self.workers, len(children("bootstrap", self.stack)))

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def load(
    applications: int, throttled: float = 0.0, connections: int = CONNECTIONS, patience: float = PATIENCE, wait_scale: float = 1.0
) -> Loaded:
    """All of it, on a stack of its own."""
    folder = Path(tempfile.mkdtemp(prefix="load-", dir="/tmp"))
    loaded = Loaded(applications)
    # As many functions as AWS lets run. The emulator's own limit has another error's name (docs/local-stack.md).
    settings = {"LAMBDA_ACCOUNT_CONCURRENCY": "1000"}
    try:
        with Lane(folder, wait_scale=str(wait_scale), connections=connections, settings=settings) as lane:
            names = register(lane, applications)
            watch = Watch(lane.server, lane.stack.running.pid)
            watch.start()
            began = time.monotonic()
            if throttled:
                lane.aws.begin(Throttling(throttled), kills=0)
            try:
                until_ended(lane, names, loaded, patience)
            finally:
                lane.aws.end()
                watch.stop()
            loaded.seconds = time.monotonic() - began
            loaded.sessions, loaded.databases, loaded.workers = watch.sessions, watch.databases, watch.workers
            if watch.databases > DUMPS:
                loaded.findings.append(f"{watch.databases} databases of one server were dumped at a time, and not {DUMPS}")
            loaded.counts += lane.aws.done
            audit(lane, names, loaded)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return loaded


def register(lane: Lane, applications: int) -> list[str]:
    """Registers one of each kind, and writes the others' records as copies of theirs; all of them are due."""
    platform = lane.platform
    for number in range(min(DATABASES, applications)):
        platform.server.create_database(f"load_{number}", owner=OWNER)
        platform.server.run_sql(SCHEMA.format(seed=number, rows=50, total=TOTAL), f"load_{number}")
    platform.bucket(BUCKET)
    platform.register(f"{MODEL}-0", lane.folder, {
        "kind": "postgres", "name": "DEFAULT", "host": platform.server.host, "port": platform.server.port,
        "database": MODEL, "secret_arn": lane.secret, "tls": {"mode": "disable"},
    })
    platform.register(f"{MODEL}-1", lane.folder, platform.storage(BUCKET, f"{MODEL}/"))
    table = lane.stack.client("dynamodb")
    models = [copied(lane, f"{MODEL}-{kind}") for kind in (0, 1)]

    def one(number: int) -> str:
        name, kind = f"load-{number}", number % 2
        for text in models[kind]:
            text = text.replace(f"{MODEL}-{kind}", name)
            text = text.replace(f'"{MODEL}/"', f'"{number}/"').replace(f'"{MODEL}"', f'"load_{number // 2 % DATABASES}"')
            item = json.loads(text)
            if "due_shard" in item:
                item["due_shard"]["S"] = shard(name)
            table.put_item(TableName=lane.stack.table, Item=item)
        for file in range(FILES if kind else 0):
            platform.s3.put_object(Bucket=BUCKET, Key=f"{number}/{file}.bin", Body=f"{number} {file}".encode() * 40)
        return name

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, range(applications)))


def copied(lane: Lane, name: str) -> list[str]:
    """The items of an application that is due, which it is no more afterwards: it is removed."""
    table = lane.stack.client("dynamodb")
    wind_back(lane.platform, name, days=2)
    keys = [{"pk": {"S": f"APP#{name}"}, "sk": {"S": "APP"}}, {"pk": {"S": "APPS"}, "sk": {"S": name}}]
    items = [table.get_item(TableName=lane.stack.table, Key=key, ConsistentRead=True)["Item"] for key in keys]
    if items[0]["due_shard"]["S"] != shard(name):
        raise AssertionError(f"the index has {name} in the shard {items[0]['due_shard']['S']}, and not in {shard(name)}")
    for key in keys:
        table.delete_item(TableName=lane.stack.table, Key=key)
    return [json.dumps(item) for item in items]


def shard(name: str) -> str:
    """Where the index `due` has an application: FNV-1a of 64 bits, modulo the number of shards."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return str(value % 8)


def until_ended(lane: Lane, names: list[str], loaded: Loaded, patience: float) -> None:
    """A tick, and another whenever one would come, until every application has a backup that has ended."""
    deadline, waiting, ticked = time.monotonic() + patience, set(names), 0.0
    while waiting and time.monotonic() < deadline:
        if time.monotonic() - ticked > TICK_SECONDS:
            ticked = time.monotonic()
            try:
                loaded.ticks.append(lane.platform.invoke("Scheduler", EVENT))
            except AssertionError as failed:
                loaded.ticks.append({"failed": str(failed)[:200]})
        for name in sorted(waiting):
            backups = Records.read(lane.stack, name).backups.values()
            if backups and all(one["finished_at"] for one in backups):
                waiting.discard(name)
        time.sleep(0.5)
    loaded.findings += [f"{name} has no backup that has ended after {patience:.0f} s" for name in sorted(waiting)]


def audit(lane: Lane, names: list[str], loaded: Loaded) -> None:
    """From outside: one succeeded backup each, whose objects are what the record says; and nothing else."""
    platform, kept, sampled = lane.platform, set(), Counter()
    for name in names:
        backups = list(Records.read(lane.stack, name).backups.values())
        loaded.counts.update(f"backups {one['state']}" for one in backups)
        for one in backups:
            if failure := one.get("failure"):
                loaded.counts[f"failure {failure['code']}"] += 1
                loaded.findings.append(f"{name}: {failure['message']}")
        if len(backups) != 1:
            loaded.findings.append(f"{name} has {len(backups)} backups")
        for backup in backups:
            if backup["state"] != "succeeded":
                continue
            kept.add(backup["id"])
            try:
                stored_objects.read_back(platform.s3, platform.stack.bucket, backup)
            except Failure as failure:
                loaded.findings.append(f"{name}: {failure}")
            service = backup["services"][0]
            if sampled[service] < SAMPLES:
                sampled[service] += 1
                loaded.findings += compare(lane, name, backup)
    pages = platform.s3.get_paginator("list_objects_v2").paginate(Bucket=platform.stack.bucket, Prefix="applications/")
    strange = {one["Key"] for page in pages for one in page.get("Contents", []) if one["Key"].split("/")[2] not in kept}
    loaded.findings += [f"{key} belongs to no backup that succeeded" for key in sorted(strange)]
    uploads = platform.s3.list_multipart_uploads(Bucket=platform.stack.bucket).get("Uploads", [])
    loaded.findings += [f"an upload of {one['Key']} is open" for one in uploads]


def compare(lane: Lane, name: str, backup: dict) -> list[str]:
    """Downloads a backup and restores it with stock tools."""
    import restored_database

    platform, number = lane.platform, int(name.rpartition("-")[2])
    folder = Path(tempfile.mkdtemp(prefix="audit-"))
    said = platform.run("backup", "download", name, backup["id"], "--to", str(folder))
    if said.code != 0:
        return [f"{name} cannot be downloaded: {said.err}"]
    file = Path(said.json["files"][0]["path"])
    try:
        if backup["services"] == ["DEFAULT"]:
            restored_database.restore(platform.server, file, "audited")
            same = tables_of(platform.server, "audited") == tables_of(platform.server, f"load_{number // 2 % DATABASES}")
        else:
            same = set(unpacked(file)) == {f"{file}.bin" for file in range(FILES)}
    except (Failure, ValueError, KeyError) as failure:
        return [f"{name}: stock tools do not read it: {failure}"]
    return [] if same else [f"{name} does not restore to what was backed up"]


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description="Many applications that are due in one tick.")
    parser.add_argument("--applications", type=int, default=500)
    parser.add_argument("--throttled", type=float, default=0.0, help="share of calls to S3 and DynamoDB that are refused, from 0 to 1")
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help="that the database server accepts")
    parser.add_argument("--patience", type=float, default=PATIENCE, help="seconds until what has not ended counts as lost")
    parser.add_argument("--wait-scale", type=float, default=1.0, help="how much of its waits the state machine takes, from 0 to 1")
    loaded = load(**vars(parser.parse_args()))
    print(loaded)
    return 1 if loaded.findings else 0


if __name__ == "__main__":
    sys.exit(main())
