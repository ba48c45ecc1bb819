"""Looks at everything from outside once all is quiet, and tells what is not as it must be: one sentence for each finding.

It believes nothing that the product says of itself: objects are asked of S3, records of the table, contents of the stock tools.
"""

import hashlib
import json
import shutil
import tarfile
import tempfile
import time
from base64 import b64decode
from collections import Counter
from datetime import date, datetime, time as moment, timezone
from pathlib import Path

import restored_database
import stored_objects
from awscrt.checksums import crc64nvme
from chaos.application import OWNER, Application, tables_of
from chaos.records import Records, seats_of
from chaos.story import Truth
from report import Failure
from retention_rules import Shelf
from stack_processes import children

# What has ended may take a moment to be gone.
PATIENCE = 15
SCRATCH = "audited"
ENDS = {"succeeded": "succeed", "failed": "fail", "cancelled": "cancel"}
TOOLS = ("pg_dump", "pg_restore", "psql")
# The default plan's.
KEEPS = {"daily": 7, "weekly": 4, "monthly": 12}


class Auditor:
    """Of one application, of which `truth` is known."""

    def __init__(self, application: Application, truth: Truth, killed: bool) -> None:
        self.application, self.truth, self.killed = application, truth, killed
        self.platform = application.platform
        self.stack, self.s3 = self.platform.stack, self.platform.s3
        self.findings: list[str] = []
        # Whose processes must have ended.
        self.parent = self.stack.running.pid

    def audit(self) -> list[str]:
        """Every finding."""
        records = Records.read(self.stack, self.application.name)
        for backup in records.backups.values():
            if backup["id"] in self.truth.history:
                continue
            match backup["state"]:
                case "succeeded":
                    self._succeeded(backup)
                case "failed" | "cancelled" | "expired":
                    self._nothing_left(backup)
                case state:
                    self._find(f"the backup {backup['id']} is {state}")
        for restore in records.restores.values():
            self._restore(restore, records)
        self._once_only(records)
        self._trail(records)
        self._bucket(records)
        self._labels(records)
        self._nothing_runs()
        return self.findings

    def _find(self, what: str) -> None:
        self.findings.append(what)

    # Backups

    def _succeeded(self, backup: dict) -> None:
        name = f"the succeeded backup {backup['id']}"
        folder = Path(tempfile.mkdtemp(prefix="audit-"))
        try:
            self._objects(name, backup)
            said = self.platform.run("backup", "download", self.application.name, backup["id"], "--to", str(folder))
            if said.code != 0:
                self._find(f"{name} cannot be downloaded: {said.err.strip()}")
                return
            files = {one["service"]: Path(one["path"]) for one in said.json["files"]}
            wanted = self.truth.contents.get(backup["id"])
            for artifact in backup["artifacts"]:
                self._artifact(name, artifact, files.get(artifact["service"]), wanted)
        finally:
            shutil.rmtree(folder)
        if {one["service"] for one in backup["artifacts"]} != set(backup["services"]):
            self._find(f"{name} has artifacts of other services than it covers")
        if backup.get("failure") or not backup["finished_at"]:
            self._find(f"{name} has a failure, or no end")
        looked = backup.get("verification")
        if looked and looked["state"] == "damaged":
            self._find(f"{name} was verified and called damaged: {looked['failure']}")

    def _objects(self, name: str, backup: dict) -> None:
        expected = {"backup.json", "README.txt"}
        for artifact in backup["artifacts"]:
            beside = "database.rows.jsonl" if artifact["service"] == "DEFAULT" else "media.manifest.jsonl.zst"
            folder, _, file = artifact["object"]["key"].removeprefix(self._prefix(backup)).partition("/")
            expected |= {f"{folder}/{file}", f"{folder}/{beside}"}
        # What became of it later is marked beside it.
        looked = backup.get("verification")
        if looked and looked["state"] != "running":
            expected.add("verification.json")
        if backup["label"] not in (None, "daily"):
            expected.add("label.json")
        found = self.platform.objects_of(backup)
        if found != expected:
            self._find(f"{name} consists of {sorted(found)} and not of {sorted(expected)}")
        try:
            stored_objects.read_back(self.s3, self.stack.bucket, backup)
        except (Failure, self.s3.exceptions.ClientError) as failure:
            self._find(f"{name}: {failure}")
        if "backup.json" in found:
            body = self.s3.get_object(Bucket=self.stack.bucket, Key=f"{self._prefix(backup)}backup.json")["Body"].read()
            described = json.loads(body)["backup"]
            if json.dumps(described["artifacts"], sort_keys=True) != json.dumps(backup["artifacts"], sort_keys=True, default=int):
                self._find(f"{name}: its backup.json describes other artifacts than its record")
            if (described["id"], described["state"], described["slot_at"]) != (backup["id"], "succeeded", backup["slot_at"]):
                self._find(f"{name}: its backup.json is of another backup, state or slot than its record")

    def _artifact(self, name: str, artifact: dict, file: Path | None, wanted: dict | None) -> None:
        service = artifact["service"]
        if file is None:
            self._find(f"{name}: {service} was not downloaded")
            return
        if crc64nvme(file.read_bytes()).to_bytes(8, "big") != b64decode(artifact["object"]["crc64nvme"]):
            self._find(f"{name}: what was downloaded of {service} has another checksum than its record says")
        if wanted is None:
            self._find(f"{name} was made when nobody had asked for one")
            return
        try:
            found = self._restored(file) if service == "DEFAULT" else unpacked(file)
        except (Failure, tarfile.TarError, KeyError, ValueError) as failure:
            self._find(f"{name}: stock tools do not read {service}: {failure}")
            return
        if found != wanted[service]:
            self._find(f"{name}: {service} restores to {difference(found, wanted[service])}")

    def _restored(self, file: Path) -> dict[str, object]:
        server = self.platform.server
        try:
            restored_database.restore(server, file, SCRATCH)
            return tables_of(server, SCRATCH)
        finally:
            server.drop_database(SCRATCH)

    def _nothing_left(self, backup: dict) -> None:
        name = f"the {backup['state']} backup {backup['id']}"
        failure = backup.get("failure")
        if backup["state"] == "failed" and not (failure and failure["code"] and failure["message"].strip()):
            self._find(f"{name} has no reason")
        if backup["state"] == "cancelled" and not backup["cancel_requested_at"]:
            self._find(f"{name} was cancelled by nobody")
        if not backup["finished_at"]:
            self._find(f"{name} has no end")
        if left := self.platform.objects_of(backup):
            self._find(f"{name} has left {sorted(left)}")

    # Restores

    def _restore(self, restore: dict, records: Records) -> None:
        name = f"the restore {restore['id']}"
        if restore["state"] not in ENDS:
            self._find(f"{name} is {restore['state']}")
            return
        failure = restore.get("failure")
        if restore["state"] == "failed" and not (failure and failure["code"] and failure["message"].strip()):
            self._find(f"{name} has failed without a reason")
        safety = restore.get("safety_backup")
        if restore["state"] == "succeeded" and safety and records.backups.get(safety, {}).get("state") not in ("succeeded", "expired"):
            self._find(f"{name} succeeded without its safety backup {safety}")
        begun = [run for run in restore["runs"] if run.get("restored")]
        asked_for = restore["options"]["safety_backup"] and any(one["is_occupied"] for one in restore["preflight"])
        if begun and asked_for and not safety:
            self._find(f"{name} has replaced what was there, and names no safety backup")

    # Records

    def _once_only(self, records: Records) -> None:
        real = [one for one in records.backups.values() if one["id"] not in self.truth.history]
        slots = Counter(one["slot_at"] for one in real if one["trigger"] == "scheduled")
        for slot, count in slots.items():
            if count > 1:
                self._find(f"the slot {slot} has {count} backups")
        for key, told in self.truth.keys.items():
            if len(told) > 1:
                self._find(f"the requests with the key {key} were told of {len(told)} backups: {sorted(told)}")
        for id in set().union(*self.truth.keys.values()) - set(records.backups):
            self._find(f"a request was told of the backup {id}, which is not there")
        asked = [one for one in real if one["trigger"] == "on_demand" and not one.get("before_restore")]
        if len(asked) > len(self.truth.keys):
            self._find(f"{len(self.truth.keys)} requests have made {len(asked)} backups")
        for seat in self._seats(records):
            self._find(f"the backup {seat['backup']} has a seat at its database server, and nothing is open")
        for turn in records.turns:
            self._find(f"the turn {turn} is taken, and nothing is open")
        if records.application["next_run_at"] is None:
            self._find("the application has no next run")

    def _seats(self, records: Records) -> list[dict]:
        """What backups of the application have taken at database servers, and not given back."""
        databases = [one for one in records.application["spec"]["services"] if one["kind"] != "storage"]
        servers = {f"{one['host']}:{one['port']}" for one in databases}
        taken = [seat for server in servers for seat in seats_of(self.stack, server)]
        now = datetime.now(timezone.utc)
        return [one for one in taken if one["backup"] in records.backups and datetime.fromisoformat(one["until"]) > now]

    def _trail(self, records: Records) -> None:
        for kind, jobs in (("backup", records.backups), ("restore", records.restores)):
            for job in jobs.values():
                if job["id"] in self.truth.history:
                    continue
                ended = [one for one in records.trail if one.get(kind) == job["id"] and one["action"] in ENDS.values()]
                # A cancellation is told when it is asked for, and when it has come.
                ends = [one["action"] for one in ended if one["to"] in ENDS]
                state = "succeeded" if job["state"] == "expired" else job["state"]
                if ends != [ENDS.get(state)]:
                    self._find(f"the {kind} {job['id']} is {job['state']}, and its trail says {ends}")

    def _bucket(self, records: Records) -> None:
        prefix = f"applications/{self.application.name}/"
        kept = {one["id"] for one in records.succeeded()}
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.stack.bucket, Prefix=prefix):
            for one in page.get("Contents", []):
                if one["Key"].removeprefix(prefix).partition("/")[0] not in kept:
                    self._find(f"{one['Key']} belongs to no backup that succeeded")
        for bucket in [self.stack.bucket, *self.application.buckets.values()]:
            for upload in self.s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
                self._find(f"an upload of {upload['Key']} is open in {bucket}")

    def _labels(self, records: Records) -> None:
        scheduled = [one for one in records.backups.values() if one["trigger"] == "scheduled" and one["state"] != "failed"]
        for one in records.succeeded():
            if one["trigger"] == "on_demand" and one["label"]:
                self._find(f"the on-demand backup {one['id']} has the label {one['label']}")
        if any(one["state"] == "expired" and one["id"] not in self.truth.history for one in scheduled) and self.truth.history:
            # Somebody deleted the newest: what the policy did before and after that has no simple answer.
            return
        shelf, ids = Shelf(KEEPS), {}
        for one in sorted(scheduled, key=lambda one: one["slot_at"]):
            if one["state"] == "expired" and one["id"] not in self.truth.history:
                continue
            if one["state"] in ("succeeded", "expired"):
                slot = (date.fromisoformat(one["slot_date"]), moment(0))
                ids[slot] = one["id"]
                shelf.succeed(slot)
        wanted = {ids[slot]: label for slot, label in shelf.labels.items()}
        found = {one["id"]: one["label"] for one in scheduled if one["state"] == "succeeded"}
        if found != wanted:
            self._find(f"labels are {difference(found, wanted)}")

    # The machine

    def _nothing_runs(self) -> None:
        for look in (self._processes, self._sessions, self._databases, self._files):
            deadline = time.monotonic() + PATIENCE
            while (left := look()) and time.monotonic() < deadline:
                time.sleep(0.1)
            for one in left:
                self._find(f"left behind: {one}")

    def _processes(self) -> list[str]:
        return [f"the process {pid}, {name}" for name in TOOLS for pid in children(name, self.parent)]

    def _sessions(self) -> list[str]:
        sql = (
            f"SELECT 'a session on ' || datname || ', ' || coalesce(state, '') FROM pg_stat_activity WHERE usename = '{OWNER}'"
            " UNION ALL SELECT 'an advisory lock' FROM pg_locks WHERE locktype = 'advisory'"
            " UNION ALL SELECT 'a prepared transaction' FROM pg_prepared_xacts"
        )
        return self.platform.server.run_sql(sql).splitlines()

    def _databases(self) -> list[str]:
        sql = "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres' ORDER BY 1"
        found = self.platform.server.run_sql(sql).splitlines()
        told = json.dumps([one["runs"] for one in Records.read(self.stack, self.application.name).restores.values()], default=str)
        return [f"the database {name}" for name in found if name != self.application.database and name not in told]

    def _files(self) -> list[str]:
        """Of a worker that was killed what it had in its machine's temporary folder goes with that machine."""
        found = [one for one in Path(tempfile.gettempdir()).iterdir() if one.name.startswith("holdfast-")]
        if self.killed:
            for one in found:
                shutil.rmtree(one) if one.is_dir() else one.unlink()
            return []
        return [f"the file {one.name}" for one in found]

    def _prefix(self, backup: dict) -> str:
        return f"applications/{self.application.name}/{backup['id']}/"


def unpacked(archive: Path) -> dict[str, str]:
    """Digest of each file of a media archive by its key, as the manifest tells it; its members must have these."""
    with tarfile.open(archive) as tar:
        members = {member.name: member for member in tar.getmembers()}
        _, *lines = [json.loads(line) for line in tar.extractfile(members["MANIFEST.jsonl"]).read().splitlines()]
        found = {}
        for line in lines:
            content = tar.extractfile(members[line["member"]]).read()
            found[line["key"]] = hashlib.sha256(content).hexdigest()
            # A file that S3 has copied by itself has no other checksum than S3's own.
            if line.get("sha256", found[line["key"]]) != found[line["key"]]:
                raise ValueError(f"{line['member']} is not what the manifest says")
        return found


def difference(found: dict, wanted: dict) -> str:
    """Where the two differ, in a few words."""
    keys = [key for key in sorted(found.keys() | wanted.keys()) if found.get(key) != wanted.get(key)]
    shown = ", ".join(f"{key}: {found.get(key)} and not {wanted.get(key)}" for key in keys[:5])
    return f"{shown}{f' and {len(keys) - 5} more' if len(keys) > 5 else ''}"
