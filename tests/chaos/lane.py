"""A stack, a PostgreSQL and the proxies before both, on which one seed runs after the other."""

import asyncio
import os
import tempfile
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from chaos.application import OWNER, Application
from chaos.auditor import Auditor
from chaos.faulty_aws import FaultyAws
from chaos.faulty_database import FaultyDatabase
from chaos.killer import Killer
from chaos.plan import MOST_KILLS, Plan
from chaos.records import Records
from chaos.settling import Settling
from chaos.story import Story
from local.postgres import Postgres
from local.stack import Stack
from platform_under_test import Platform

# The state machine's waits, of seconds, take so much of it.
WAIT_SCALE = "0.01"


@dataclass
class Outcome:
    """What came of a seed."""

    seed: int
    seconds: float = 0.0
    findings: list[str] = field(default_factory=list)
    # What the harness itself stumbled over; the seed then says nothing.
    broken: str | None = None
    counts: Counter = field(default_factory=Counter)
    # Each backup and restore, and why it failed.
    ends: list[str] = field(default_factory=list)


class ThriftyStack(Stack):
    """Makes each client once: that takes longer than most calls."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._clients = {}

    def client(self, service: str, region: str | None = None):
        if (service, region) not in self._clients:
            self._clients[service, region] = super().client(service, region)
        return self._clients[service, region]


class Lane:
    """A context: everything runs within it, and is gone after it."""

    def __init__(
        self, folder: Path, wait_scale: str = WAIT_SCALE, connections: int = 100, settings: dict[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.stack = ThriftyStack(folder / "stack")
        self.server = Postgres(folder / "postgres", settings={"max_connections": str(connections)})
        self._settings = (settings or {}) | {"SFN_WAIT_SCALE": wait_scale}
        self._divided = False

    def __enter__(self) -> "Lane":
        # Whoever the stack starts writes here, so that what is left can be told from other programs' files.
        temporary = self.folder / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        self._temporary_before = os.environ.get("TMPDIR"), tempfile.tempdir
        os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.aws, self.database = FaultyAws(self._kill), FaultyDatabase()
        self._in_loop(self.aws.listen())
        self._in_loop(self.database.listen())
        try:
            self.stack.start(AWS_ENDPOINT_URL=f"http://127.0.0.1:{self.aws.port}", **self._settings)
            self.aws.forward_to(self.stack.running.port)
            self.server.start()
            self.database.forward_to(self.server.port)
            self.stack.deploy()
        except BaseException:
            self.__exit__()
            raise
        self.platform = Platform(self.stack, self.server)
        self.killer = Killer(self.stack.running.pid)
        password = self.server.create_role(OWNER, attributes="CREATEDB")
        self.server.run_sql(f'GRANT pg_read_all_data TO "{OWNER}"')
        self.secret = self.platform.secret(f"holdfast/{OWNER}", {"username": OWNER, "password": password})
        return self

    def __exit__(self, *_) -> None:
        self.stack.stop()
        self.server.stop()
        self.server.remove()
        self.loop.call_soon_threadsafe(self.loop.stop)
        variable, tempfile.tempdir = self._temporary_before
        os.environ.pop("TMPDIR")
        if variable is not None:
            os.environ["TMPDIR"] = variable

    def run(self, seed: int) -> Outcome:
        """One seed: made, told, audited, and taken away."""
        outcome, began = Outcome(seed), time.monotonic()
        plan = Plan.of(seed)
        self.aws.done, self.database.done, self.killer.done = Counter(), Counter(), Counter()
        try:
            self._divide(plan.shape.divided)
            application = Application(self.platform, self.database.port, self.secret, plan, self.folder)
            application.make()
            settling = Settling(self.platform, application.name)
            story = Story(application, settling, lambda: self._begin(plan), self._end, self.killer)
            story.tell()
            killed = any(name.startswith("kill") for name in [*self.aws.done, *self.killer.done])
            outcome.findings = story.truth.findings + Auditor(application, story.truth, killed).audit()
            outcome.counts = self.aws.done + self.database.done + self.killer.done + story.done + settling.done
            records = Records.read(self.stack, application.name)
            outcome.counts.update(f"backups {one['state']}" for one in records.backups.values() if one["id"] not in story.truth.history)
            for one in [*records.backups.values(), *records.restores.values()]:
                failure = one.get("failure") or {}
                outcome.counts.update([f"failure {failure['code']}"] if failure else [])
                outcome.ends.append(f"{one['id']} {one.get('trigger', 'restore')} {one['state']} {failure.get('message', '')}")
            application.remove()
        except Exception:
            outcome.broken = traceback.format_exc()
        finally:
            self._end()
        outcome.seconds = time.monotonic() - began
        return outcome

    def _begin(self, plan: Plan) -> None:
        self.aws.begin(plan, MOST_KILLS)
        self.database.begin(plan)

    def _end(self) -> None:
        self.aws.end()
        self.database.end()
        self._in_loop(self.aws.late_calls())

    def _kill(self, port: int) -> bool:
        return self.killer.kill_who_calls_from(port)

    def _divide(self, divided: bool) -> None:
        """Whether the worker divides media between branches, however little there is."""
        if divided == self._divided:
            return
        functions = self.stack.client("lambda")
        name = next(one["FunctionName"] for one in functions.list_functions()["Functions"] if "WorkerFunction" in one["FunctionName"])
        variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        variables["HOLDFAST_MEDIA_SECONDS"] = "0" if divided else "300"
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
        self._divided = divided

    def _in_loop(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)
