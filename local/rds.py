"""The RDS of the local stack: instances, clusters and snapshots, each with a real PostgreSQL behind it.

ministack has an RDS too, whose servers are containers and whose snapshots hold nothing. This one answers the dozen calls of
isolated backups and those alone, as the Query protocol has them; ``local/gateway.py`` hands it what is signed for `rds`.

* A throwaway PostgreSQL (``local/postgres.py``) becomes an instance or a cluster by `register`.
* A snapshot is `pg_basebackup` of the running server. It holds what was committed when that began, and a little more.
* What is restored is a server of its own, on a free loopback port, started from the files of the snapshot, with the roles,
  passwords and certificate of the one that was copied.
* Things are `creating` and `deleting` until they have been described a few times; what RDS refuses meanwhile is refused.

Nothing is started before it is asked for, and nothing outlives the gateway: `end_recorded` cleans up behind one that was
killed. API reference: https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import tempfile
import threading
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from local.account import of_server
from local.postgres import Postgres, PostgresError, Recorded, stop_recorded

ACCOUNT = "000000000000"
VERSION = "http://rds.amazonaws.com/doc/2014-10-31/"
# Where `register` is heard, beside the API.
REGISTER = "/_local/rds"
# How often a thing is described before it is there, or gone.
LOOKS = 2
# The folder of all data, noted in the stack's state.
NOTED = "folder"
CLASSES = ("db.m7g.large", "db.t4g.medium", "db.t4g.micro", "db.t3.micro")
SNAPSHOTS = ("snapshot", "cluster-snapshot")
# How each kind says that it is not there, is there already, and is in another state.
CODES = {
    "db": ("DBInstanceNotFound", "DBInstanceAlreadyExists", "InvalidDBInstanceState"),
    "cluster": ("DBClusterNotFoundFault", "DBClusterAlreadyExistsFault", "InvalidDBClusterStateFault"),
    "snapshot": ("DBSnapshotNotFound", "DBSnapshotAlreadyExists", "InvalidDBSnapshotState"),
    "cluster-snapshot": (
        "DBClusterSnapshotNotFoundFault",
        "DBClusterSnapshotAlreadyExistsFault",
        "InvalidDBClusterSnapshotStateFault",
    ),
}


class Refused(Exception):
    """What RDS answers instead of doing it."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.status = code, status


class Thing:
    """An instance, a cluster or a snapshot."""

    def __init__(self, kind: str, name: str, engine: str, tags: dict[str, str], asked: dict[str, str]) -> None:
        self.kind, self.name, self.engine, self.tags, self.asked = kind, name, engine, tags, asked
        self.status, self.looks, self.created = "creating", LOOKS, datetime.now(UTC)
        self.cluster: str | None = None
        self.server: Postgres | None = None
        # Of a snapshot: the server's files. Of what is restored: where it was restored from.
        self.files: Path | None = None
        self.of = ""
        self.work: threading.Thread | None = None
        self.model: Thing | None = None

    def begin(self, work) -> None:
        """Do `work` beside; what goes wrong with it makes this `failed`."""

        def run() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 (whatever it is, the thing has failed)
                print(f"rds: {self.kind} {self.name}: {error}", flush=True)
                self.status = "failed"

        self.work = threading.Thread(target=run, daemon=True)
        self.work.start()

    def look(self) -> None:
        """Moves on, as time would."""
        self.looks = max(0, self.looks - 1)
        done = self.looks == 0 and not (self.work and self.work.is_alive())
        if done and self.status == "creating":
            self.status = "available"


class Rds:
    """All that there is, and the calls on it. One call at a time."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.things: dict[tuple[str, str], Thing] = {}
        self.lock = threading.Lock()
        self._folder: Path | None = None

    # The outside

    def is_for(self, scope: dict) -> bool:
        """Whether a request is one of RDS."""
        if scope["type"] != "http":
            return False
        headers = dict(scope["headers"])
        signed_for = re.search(rb"Credential=[^/]+/\d+/[^/]+/([^/]+)/", headers.get(b"authorization", b""))
        return scope["path"] == REGISTER or bool(signed_for and signed_for[1] == b"rds")

    async def answer(self, scope: dict, receive, send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        status, text = await asyncio.to_thread(self.call, scope["path"], body)
        await send(
            {"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/xml")]},
        )
        await send({"type": "http.response.body", "body": text.encode()})

    def call(self, path: str, body: bytes) -> tuple[int, str]:
        """One request to its end: the status and the text of the answer."""
        try:
            with self.lock:
                if path == REGISTER:
                    self.register(json.loads(body))
                    return 200, "{}"
                request = dict(parse_qsl(body.decode(), keep_blank_values=True))
                action = request.pop("Action", "")
                does = getattr(self, snake(action), None) if action in ACTIONS else None
                if does is None:
                    raise Refused("InvalidAction", f"{action} is not one of the calls that local/rds.py answers")
                result = does(request)
        except Refused as error:
            return error.status, (
                f'<ErrorResponse xmlns="{VERSION}"><Error><Type>Sender</Type><Code>{error.code}</Code>'
                f"<Message>{escape(str(error))}</Message></Error><RequestId>local</RequestId></ErrorResponse>"
            )
        return 200, (
            f'<{action}Response xmlns="{VERSION}"><{action}Result>{xml(result)}</{action}Result>'
            f"<ResponseMetadata><RequestId>local</RequestId></ResponseMetadata></{action}Response>"
        )

    def stop(self) -> None:
        """Stop every server, and delete all there is."""
        with self.lock:
            for thing in self.things.values():
                if thing.work:
                    thing.work.join()
            for thing in self.things.values():
                if thing.server and thing.model:
                    thing.server.stop()
            self.things.clear()
        end_recorded(self.state)

    # What there is

    def register(self, given: dict) -> None:
        source = Thing(given["kind"], given["identifier"], given["engine"], given.get("tags", {}), {})
        source.server = Recorded(given["server"]) if given.get("server") else None
        source.status, source.looks = given.get("status", "available"), 0
        self.things[source.kind, source.name] = source

    def there(self, kind: str, name: str) -> Thing:
        thing = self.things.get((kind, name))
        if thing is None:
            raise Refused(CODES[kind][0], f"{kind} {name} not found", 404)
        return thing

    def add(self, kind: str, name: str, model: Thing, request: dict[str, str]) -> Thing:
        if not re.fullmatch(r"[a-z](-?[a-z0-9]){0,62}", name):
            raise Refused("InvalidParameterValue", f"{name} is not a valid identifier")
        if (kind, name) in self.things:
            raise Refused(CODES[kind][1], f"{kind} {name} already exists")
        if model.status != "available":
            raise Refused(CODES[model.kind][2], f"{model.kind} {model.name} is {model.status}")
        thing = Thing(kind, name, model.engine, tags_of(request), request)
        thing.model, thing.of = model, model.name
        self.things[kind, name] = thing
        return thing

    def described(self, kind: str, name: str | None) -> list[dict]:
        if name:
            self.there(kind, name)
        found = [thing for (one, _), thing in list(self.things.items()) if one == kind and name in (None, thing.name)]
        answer = []
        for thing in found:
            thing.look()
            if thing.status == "deleting" and thing.looks == 0:
                del self.things[thing.kind, thing.name]
            answer.append(DESCRIBE[kind](thing))
        return answer

    def folder(self) -> Path:
        """The folder of all data, which the servers' user may walk through."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="holdfast-rds-", dir="/tmp"))
            account = of_server("PostgreSQL", "postgres", PostgresError)
            if account:
                os.chown(self._folder, account.pw_uid, account.pw_gid)
            self.state.mkdir(parents=True, exist_ok=True)
            (self.state / NOTED).write_text(str(self._folder))
        return self._folder

    # Calls

    def describe_db_instances(self, request: dict) -> dict:
        return {"DBInstances": {"DBInstance": self.described("db", request.get("DBInstanceIdentifier"))}}

    def describe_db_clusters(self, request: dict) -> dict:
        return {"DBClusters": {"DBCluster": self.described("cluster", request.get("DBClusterIdentifier"))}}

    def describe_db_snapshots(self, request: dict) -> dict:
        return {"DBSnapshots": {"DBSnapshot": self.described("snapshot", request.get("DBSnapshotIdentifier"))}}

    def describe_db_cluster_snapshots(self, request: dict) -> dict:
        found = self.described("cluster-snapshot", request.get("DBClusterSnapshotIdentifier"))
        return {"DBClusterSnapshots": {"DBClusterSnapshot": found}}

    def describe_orderable_db_instance_options(self, request: dict) -> dict:
        aurora = request["Engine"].startswith("aurora")
        options = [
            {
                "Engine": request["Engine"],
                "EngineVersion": request.get("EngineVersion", "17"),
                "DBInstanceClass": name,
                "StorageType": storage,
                "SupportsStorageEncryption": "true",
                "Vpc": "true",
                **({} if aurora else {"MinStorageSize": "20", "MaxStorageSize": "65536"}),
            }
            for name in CLASSES
            for storage in (["aurora"] if aurora else ["gp2", "gp3"])
        ]
        return {"OrderableDBInstanceOptions": {"OrderableDBInstanceOption": options}}

    def list_tags_for_resource(self, request: dict) -> dict:
        kind, name = request["ResourceName"].split(":")[5:7]
        return tags_xml(self.there(kind, name))

    def create_db_snapshot(self, request: dict) -> dict:
        source = self.there("db", request["DBInstanceIdentifier"])
        if source.cluster:
            raise Refused("InvalidDBInstanceState", f"{source.name} is part of the cluster {source.cluster}")
        return {"DBSnapshot": snapshot_xml(self.snapshot("snapshot", request["DBSnapshotIdentifier"], source, request))}

    def create_db_cluster_snapshot(self, request: dict) -> dict:
        source = self.there("cluster", request["DBClusterIdentifier"])
        made = self.snapshot("cluster-snapshot", request["DBClusterSnapshotIdentifier"], source, request)
        return {"DBClusterSnapshot": cluster_snapshot_xml(made)}

    def snapshot(self, kind: str, name: str, source: Thing, request: dict) -> Thing:
        made = self.add(kind, name, source, request)
        if source.server:
            made.files = self.folder() / f"{kind}-{name}"
            made.server = source.server
            made.begin(lambda: source.server.copy_to(made.files))
        return made

    def restore_db_instance_from_db_snapshot(self, request: dict) -> dict:
        model = self.there("snapshot", request["DBSnapshotIdentifier"])
        self.orderable(request)
        made = self.add("db", request["DBInstanceIdentifier"], model, request)
        self.serve(made, model)
        return {"DBInstance": instance_xml(made)}

    def restore_db_cluster_from_snapshot(self, request: dict) -> dict:
        model = self.there("cluster-snapshot", request["SnapshotIdentifier"])
        made = self.add("cluster", request["DBClusterIdentifier"], model, request)
        return {"DBCluster": cluster_xml(made)}

    def create_db_instance(self, request: dict) -> dict:
        if "DBClusterIdentifier" not in request:
            raise Refused("InvalidParameterCombination", "here, instances are made in clusters alone, or registered")
        cluster = self.there("cluster", request["DBClusterIdentifier"])
        self.orderable(request)
        made = self.add("db", request["DBInstanceIdentifier"], cluster, request)
        made.cluster = cluster.name
        self.serve(made, cluster.model)
        return {"DBInstance": instance_xml(made)}

    def delete_db_instance(self, request: dict) -> dict:
        thing = self.going("db", request["DBInstanceIdentifier"], request)
        if thing.server and thing.model:
            # Stopped at once: nobody reads what is being deleted.
            if thing.work:
                thing.work.join()
            thing.server.stop()
            thing.server.remove()
        return {"DBInstance": instance_xml(thing)}

    def delete_db_cluster(self, request: dict) -> dict:
        name = request["DBClusterIdentifier"]
        members = [one for one in self.things.values() if one.cluster == name and one.status != "deleting"]
        if members:
            raise Refused("InvalidDBClusterStateFault", f"Cluster {name} still contains DB instances in non-deleting state.")
        return {"DBCluster": cluster_xml(self.going("cluster", name, request))}

    def delete_db_snapshot(self, request: dict) -> dict:
        return {"DBSnapshot": snapshot_xml(self.gone("snapshot", request["DBSnapshotIdentifier"]))}

    def delete_db_cluster_snapshot(self, request: dict) -> dict:
        return {"DBClusterSnapshot": cluster_snapshot_xml(self.gone("cluster-snapshot", request["DBClusterSnapshotIdentifier"]))}

    def going(self, kind: str, name: str, request: dict) -> Thing:
        thing = self.there(kind, name)
        if thing.status == "deleting":
            raise Refused(CODES[kind][2], f"{kind} {name} is already being deleted")
        if request.get("SkipFinalSnapshot") != "true":
            raise Refused("InvalidParameterCombination", "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified.")
        thing.status, thing.looks = "deleting", LOOKS
        return thing

    def gone(self, kind: str, name: str) -> Thing:
        thing = self.there(kind, name)
        if thing.status != "available" and thing.status != "failed":
            raise Refused(CODES[kind][2], f"Cannot delete the {kind} because it is not in available state but {thing.status}.")
        if thing.files:
            shutil.rmtree(thing.files, ignore_errors=True)
        thing.status = "deleted"
        del self.things[kind, name]
        return thing

    def orderable(self, request: dict) -> None:
        if request.get("DBInstanceClass") not in CLASSES:
            raise Refused("InvalidParameterCombination", f"{request.get('DBInstanceClass')} cannot be ordered")

    def serve(self, thing: Thing, snapshot: Thing) -> None:
        """Start a server from the files of a snapshot."""
        if snapshot.files is None:
            return
        like = snapshot.server
        folder = self.folder() / f"db-{thing.name}"
        thing.server = Postgres(folder, tls=like.tls, programs=like.programs, outlive=True)

        def work() -> None:
            thing.server.take_over(snapshot.files)
            thing.server.start()
            thing.server.record(self.state / thing.name)

        thing.begin(work)


def snake(action: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=DB)(?=[A-Z][a-z])", "_", action).lower()


def tags_of(request: dict[str, str]) -> dict[str, str]:
    keys = {name: value for name, value in request.items() if re.fullmatch(r"Tags\.\w+\.\d+\.Key", name)}
    return {key: request.get(name.removesuffix("Key") + "Value", "") for name, key in keys.items()}


def xml(value) -> str:
    """A dict as elements; a list in it as elements of one name."""
    if isinstance(value, dict):
        parts = []
        for name, inner in value.items():
            for one in inner if isinstance(inner, list) else [inner]:
                if one is not None:
                    parts.append(f"<{name}>{xml(one)}</{name}>")
        return "".join(parts)
    return escape(str(value))


def tags_xml(thing: Thing) -> dict:
    return {"TagList": {"Tag": [{"Key": key, "Value": value} for key, value in thing.tags.items()]}}


def major(thing: Thing) -> str:
    return str(thing.server.version) if thing.server else "17"


def instance_xml(thing: Thing) -> dict:
    is_there = thing.server and thing.status in ("available", "backing-up")
    groups = [value for name, value in thing.asked.items() if name.startswith("VpcSecurityGroupIds.")]
    return {
        "DBInstanceIdentifier": thing.name,
        "DBInstanceArn": f"arn:aws:rds:eu-central-1:{ACCOUNT}:db:{thing.name}",
        "DBInstanceStatus": thing.status,
        "DBInstanceClass": thing.asked.get("DBInstanceClass", "db.m7g.large"),
        "DBClusterIdentifier": thing.cluster,
        "Engine": thing.engine,
        "EngineVersion": major(thing),
        "AllocatedStorage": "100",
        "StorageType": thing.asked.get("StorageType", "gp3"),
        "StorageEncrypted": "true",
        "PubliclyAccessible": thing.asked.get("PubliclyAccessible", "false"),
        "MultiAZ": thing.asked.get("MultiAZ", "false"),
        "DeletionProtection": thing.asked.get("DeletionProtection", "false"),
        "BackupRetentionPeriod": thing.asked.get("BackupRetentionPeriod", "7"),
        "DBSubnetGroup": {"DBSubnetGroupName": thing.asked.get("DBSubnetGroupName", "private")},
        "VpcSecurityGroups": {
            "VpcSecurityGroupMembership": [{"VpcSecurityGroupId": one, "Status": "active"} for one in groups or ["sg-0db"]],
        },
        "DBParameterGroups": {
            "DBParameterGroup": [{"DBParameterGroupName": thing.asked.get("DBParameterGroupName", "default.postgres17")}],
        },
        "Endpoint": {"Address": thing.server.host, "Port": thing.server.port} if is_there else None,
        **tags_xml(thing),
    }


def cluster_xml(thing: Thing) -> dict:
    return {
        "DBClusterIdentifier": thing.name,
        "DBClusterArn": f"arn:aws:rds:eu-central-1:{ACCOUNT}:cluster:{thing.name}",
        "Status": thing.status,
        "Engine": thing.engine,
        "EngineVersion": major(thing),
        "StorageEncrypted": "true",
        "DBSubnetGroup": thing.asked.get("DBSubnetGroupName", "private"),
        "DBClusterParameterGroup": thing.asked.get("DBClusterParameterGroupName", "default.aurora-postgresql17"),
        "VpcSecurityGroups": {"VpcSecurityGroupMembership": [{"VpcSecurityGroupId": "sg-0db", "Status": "active"}]},
        **tags_xml(thing),
    }


def snapshot_xml(thing: Thing) -> dict:
    return {
        "DBSnapshotIdentifier": thing.name,
        "DBSnapshotArn": f"arn:aws:rds:eu-central-1:{ACCOUNT}:snapshot:{thing.name}",
        "DBInstanceIdentifier": thing.of,
        "Status": thing.status,
        "SnapshotType": "manual",
        "SnapshotCreateTime": thing.created.isoformat(),
        "Engine": thing.engine,
        "EngineVersion": major(thing),
        "AllocatedStorage": "100",
        **tags_xml(thing),
    }


def cluster_snapshot_xml(thing: Thing) -> dict:
    return {
        "DBClusterSnapshotIdentifier": thing.name,
        "DBClusterSnapshotArn": f"arn:aws:rds:eu-central-1:{ACCOUNT}:cluster-snapshot:{thing.name}",
        "DBClusterIdentifier": thing.of,
        "Status": thing.status,
        "SnapshotType": "manual",
        "SnapshotCreateTime": thing.created.isoformat(),
        "Engine": thing.engine,
        "EngineVersion": major(thing),
        **tags_xml(thing),
    }


DESCRIBE = {"db": instance_xml, "cluster": cluster_xml, "snapshot": snapshot_xml, "cluster-snapshot": cluster_snapshot_xml}
ACTIONS = {
    "CreateDBClusterSnapshot",
    "CreateDBInstance",
    "CreateDBSnapshot",
    "DeleteDBCluster",
    "DeleteDBClusterSnapshot",
    "DeleteDBInstance",
    "DeleteDBSnapshot",
    "DescribeDBClusterSnapshots",
    "DescribeDBClusters",
    "DescribeDBInstances",
    "DescribeDBSnapshots",
    "DescribeOrderableDBInstanceOptions",
    "ListTagsForResource",
    "RestoreDBClusterFromSnapshot",
    "RestoreDBInstanceFromDBSnapshot",
}


def register(endpoint: str, kind: str, identifier: str, engine: str, server: Postgres | None = None, **more) -> None:
    """Makes a running throwaway server an instance (`db`) or a `cluster` of the local RDS at `endpoint`. Without a server
    there is nothing behind it. `more`: `status`, `tags`."""
    body = {"kind": kind, "identifier": identifier, "engine": engine, "server": server and server.description()} | more
    request = urllib.request.Request(endpoint + REGISTER, json.dumps(body).encode(), method="POST")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10):
        pass


def end_recorded(state: Path) -> None:
    """Ends the servers that a gateway has left in its `state`, and deletes what is theirs. Harmless when there are none."""
    for record in state.glob("*/postgres.json"):
        stop_recorded(record.parent)
    noted = state / NOTED
    if noted.exists():
        folder = Path(noted.read_text())
        if folder.name.startswith("holdfast-rds-"):
            shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(state, ignore_errors=True)
