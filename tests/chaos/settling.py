"""After the faults: time passes, and the tick comes, until every job has ended."""

import json
import time
from collections import Counter
from datetime import datetime, timedelta, timezone

from chaos.records import Records
from platform_under_test import EVENT

# Longer than any wait of the state machine's at its scale.
PATIENCE = 90
# What the tick takes for standing still, and a little more.
A_WHILE = timedelta(minutes=2)
# What a verification is taken for lost after, and a little more.
LOST = timedelta(minutes=16)


class Settling:
    """For one application."""

    def __init__(self, platform, application: str) -> None:
        self.platform, self.application = platform, application
        self.stack = platform.stack
        self.states = self.stack.client("stepfunctions")
        self.table = self.stack.client("dynamodb")
        self.done = Counter()

    def is_quiet(self) -> bool:
        """Whether nothing is open and nothing runs."""
        return not Records.read(self.stack, self.application).open_jobs() and not self.running()

    def running(self) -> list[str]:
        """Names of the executions that run."""
        machine = self.stack.state_machine_arn
        pages = self.states.get_paginator("list_executions").paginate(stateMachineArn=machine, statusFilter="RUNNING")
        return [one["name"] for page in pages for one in page["executions"]]

    def wait(self, seconds: float) -> bool:
        """Waits so long for quiet, and does nothing else. Says whether it came."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.is_quiet():
                return True
            time.sleep(0.1)
        return False

    def settle(self) -> list[str]:
        """Brings everything to its end, as the passing of time would; what does not end is told."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            running = self.running()
            open_jobs = Records.read(self.stack, self.application).open_jobs()
            if not open_jobs and not running:
                return []
            standing = [(kind, job) for kind, job in open_jobs if not any(name.startswith(job["id"]) for name in running)]
            for kind, job in standing:
                self._let_time_pass(kind, job)
            if standing:
                self.platform.invoke("Scheduler", EVENT)
                self.done["ticks after standing still"] += 1
            time.sleep(0.1)
        return [
            f"{kind} {job['id']} did not end within {PATIENCE} s: {job['state']}, executions {self._executions(job['id'])}"
            for kind, job in open_jobs
        ] + [f"the execution {name} did not end within {PATIENCE} s" for name in running if not open_jobs]

    def _let_time_pass(self, kind: str, job: dict) -> None:
        """The record is as old as one that stands still; where an abort has failed for good, the next hour comes."""
        key = {"pk": {"S": f"APP#{self.application}"}, "sk": {"S": f"{'RESTORE' if kind == 'restore' else 'BACKUP'}#{job['id']}"}}
        item = self.table.get_item(TableName=self.stack.table, Key=key, ConsistentRead=True)["Item"]
        record = item["record"]["M"]
        ago = lambda while_: (datetime.now(timezone.utc) - while_).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: E731
        if kind == "verify":
            record["verification"]["M"]["at"]["S"] = ago(LOST)
        else:
            for moment in ("created_at", "started_at"):
                if record[moment].get("S", "") > ago(A_WHILE):
                    record[moment]["S"] = ago(A_WHILE)
        version = {":v": item["version"]}
        self.table.put_item(
            TableName=self.stack.table, Item=item, ConditionExpression="version = :v", ExpressionAttributeValues=version
        )
        if kind == "verify":
            # Nobody but who has asked for it asks again.
            self.done["verifications asked for again"] += 1
            self.platform.run("backup", "verify", self.application, job["id"])
            return
        aborts = [name for name in self._executions(job["id"]) if "-abort-" in name]
        if aborts:
            self.done["hours until another abort"] += 1
            hour = datetime.now(timezone.utc) + timedelta(hours=len(aborts))
            caught = {"Error": "ExecutionEnded", "Cause": "the execution of the job ended without recording the job's end"}
            document = {"job": {"kind": kind, "application": self.application, "id": job["id"]}, "abort": caught}
            name = f"{job['id']}-abort-{hour.strftime('%Y%m%dT%H')}"
            self.states.start_execution(stateMachineArn=self.stack.state_machine_arn, name=name, input=json.dumps(document))

    def _executions(self, id: str) -> list[str]:
        """Executions of the job, each with what became of it."""
        pages = self.states.get_paginator("list_executions").paginate(stateMachineArn=self.stack.state_machine_arn)
        return [f"{one['name']} {one['status']}" for page in pages for one in page["executions"] if one["name"].startswith(id)]
