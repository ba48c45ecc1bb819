"""A platform with applications on it: the deployed stack, a PostgreSQL server, and the command line a person would use."""

import json
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local.built import TRIED
from local.postgres import Postgres
from local.stack import Stack

# Generous: what is waited for takes seconds.
PATIENCE = 120
# What EventBridge Scheduler calls a function with.
EVENT = {"detail-type": "Scheduled Event", "source": "aws.scheduler", "detail": {}}
# What changes beside a backup that does not: docs/catalog.md.
MARKS = ("/hold.json", "/label.json", "/verification.json")


@dataclass
class Said:
    """What a run of the program came to."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


class Platform:
    """Everything goes in by the command line, and is looked at from outside."""

    def __init__(self, stack: Stack, server: Postgres) -> None:
        self.stack = stack
        self.server = server
        self.s3 = stack.client("s3")

    # The command line

    def start(self, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            [TRIED.holdfast, "--api", self.stack.api_url, "--output", "json", *arguments],
            env=self.stack.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )

    def run(self, *arguments: str) -> Said:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=PATIENCE)
        return Said(process.returncode, out, err)

    def ask(self, *arguments: str):
        said = self.run(*arguments)
        assert said.code == 0, said.err
        return said.json

    def backup(self, application: str, id: str) -> dict:
        return self.ask("backup", "show", application, id)

    def until(self, application: str, id: str, wanted) -> dict:
        """The backup once `wanted(backup)` holds."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            backup = self.backup(application, id)
            if wanted(backup):
                return backup
            time.sleep(0.2)
        raise AssertionError(f"still {backup['state']} after {PATIENCE} s: {json.dumps(backup)[:2000]}")

    def ended(self, application: str, id: str) -> dict:
        return self.until(application, id, lambda backup: backup["state"] not in ("queued", "running"))

    # Applications

    def bucket(self, name: str, files: dict[str, bytes] | None = None, region: str | None = None) -> str:
        where = region or self.stack.region
        location = {} if where == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": where}}
        self.stack.client("s3", where).create_bucket(Bucket=name, **location)
        for key, content in (files or {}).items():
            self.s3.put_object(Bucket=name, Key=key, Body=content)
        return name

    def secret(self, name: str, content: dict[str, str]) -> str:
        return self.stack.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps(content))["ARN"]

    def database(self, name: str, sql: str = "") -> dict:
        """A database of its own role, and how it is registered as a service."""
        password = self.server.create_role(name)
        self.server.create_database(name, owner=name)
        if sql:
            self.server.run_sql(sql, name)
            self.server.run_sql(f'GRANT pg_read_all_data TO "{name}"')
        return {
            "kind": "postgres",
            "name": "DEFAULT",
            "host": self.server.host,
            "port": self.server.port,
            "database": name,
            "secret_arn": self.secret(f"holdfast/{name}", {"username": name, "password": password}),
            "tls": {"mode": "disable"},
        }

    def storage(self, bucket: str, prefix: str = "") -> dict:
        return {"kind": "storage", "name": "MEDIA", "bucket": bucket, "prefix": prefix}

    def put(self, application: str, folder: Path, *services: dict, plan: str = "default", **more) -> Said:
        document = folder / f"{application}.json"
        document.write_text(json.dumps({"plan": plan, "time_zone": "Europe/Zurich", "services": services} | more))
        return self.run("apps", "put", application, "--file", str(document), "--overwrite")

    def register(self, application: str, folder: Path, *services: dict, plan: str = "default", **more) -> None:
        said = self.put(application, folder, *services, plan=plan, **more)
        assert said.code == 0, said.err

    # From outside

    def left_of(self, application: str) -> list[str]:
        """Every version of every object of the application's backups, and every upload that is open for one."""
        prefix = f"applications/{application}/"
        versions = self.s3.list_object_versions(Bucket=self.stack.bucket, Prefix=prefix).get("Versions", [])
        uploads = self.s3.list_multipart_uploads(Bucket=self.stack.bucket, Prefix=prefix).get("Uploads", [])
        return [one["Key"] for one in versions] + [f"upload of {one['Key']}" for one in uploads]

    def objects_of(self, backup: dict) -> set[str]:
        prefix = f"applications/{backup['application']}/{backup['id']}/"
        found = self.s3.list_objects_v2(Bucket=self.stack.bucket, Prefix=prefix).get("Contents", [])
        return {one["Key"].removeprefix(prefix) for one in found}

    def events(self, job: str) -> list[str]:
        """The types of all that has happened in the execution of a job."""
        arn = self.stack.state_machine_arn.replace(":stateMachine:", ":execution:") + f":{job}"
        pages = self.stack.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=arn)
        return [event["type"] for page in pages for event in page["events"]]

    def failed_calls(self, job: str) -> int:
        """How often a worker failed, or died, that was at the job."""
        return sum(kind in ("TaskFailed", "LambdaFunctionFailed") for kind in self.events(job))

    def function(self, name: str) -> dict:
        """The function that the template calls so, as Lambda describes it."""
        functions = self.stack.client("lambda").list_functions()["Functions"]
        return next(one for one in functions if f"{name}Function" in one["FunctionName"])

    @contextmanager
    def timeout(self, function: str, seconds: int):
        """Gives the invocations of a function so many seconds."""
        functions, found = self.stack.client("lambda"), self.function(function)
        functions.update_function_configuration(FunctionName=found["FunctionName"], Timeout=seconds)
        try:
            yield
        finally:
            functions.update_function_configuration(FunctionName=found["FunctionName"], Timeout=found["Timeout"])

    def invoke(self, function: str, payload: dict) -> dict:
        """Calls a function as its schedule does, and waits for its answer."""
        functions = self.stack.client("lambda")
        name = self.function(function)["FunctionName"]
        answer = functions.invoke(FunctionName=name, Payload=json.dumps(payload))
        body = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, body
        return body

    def logs(self) -> str:
        """All that the functions have logged."""
        logs = self.stack.client("logs")
        groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
        pages = (
            page for group in groups for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group)
        )
        return "\n".join(event["message"] for page in pages for event in page["events"])
