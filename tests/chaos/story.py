"""What is asked of an application, step by step, while things go wrong; and what must be true of it afterwards."""

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone

from chaos.application import Application, Transfers
from chaos.plan import Step
from chaos.records import Records
from chaos.settling import Settling
from platform_under_test import EVENT

# A step that has not come to its end in this time is left; faults end, and time passes.
STEP_SECONDS = 8
REQUEST_TRIES = 6


@dataclass
class Truth:
    """What whoever looks from outside has to know."""

    # Contents that the application had while a backup was made, newest last; by the id of the backup.
    contents: dict[str, dict] = field(default_factory=dict)
    # Backups that a repeated request has made: of each key the ids that were told.
    keys: dict[str, set[str]] = field(default_factory=dict)
    # Backups that were put there as if made in the past: their slots' dates.
    history: dict[str, str] = field(default_factory=dict)
    # Restores: what was there before.
    before: dict[str, dict] = field(default_factory=dict)
    # What was found on the way.
    findings: list[str] = field(default_factory=list)


class Story:
    """Of one application."""

    def __init__(self, application: Application, settling: Settling, begin_faults, end_faults, killer) -> None:
        self.application, self.settling = application, settling
        self.platform, self.plan = application.platform, application.plan
        self.begin_faults, self.end_faults, self.killer = begin_faults, end_faults, killer
        self.truth, self.done = Truth(), Counter()
        self.unaccounted = 0

    def tell(self) -> None:
        """All steps. At the end everything has ended and nothing fails any more."""
        for number, step in enumerate(self.plan.steps):
            self.done[f"step {step.what}"] += 1
            getattr(self, f"_{step.what}")(step, number)
        self.platform.invoke("Retention", {"application": self.application.name})
        self.truth.findings += self.settling.settle()

    # Steps

    def _backup(self, step: Step, number: int) -> None:
        with self._trouble(step):
            key = f"key-{number}"
            arguments = ["backup", "create", self.application.name, "--detach", "--idempotency-key", key]
            told = self._ask(arguments, step.requests)
            self.truth.keys[key] = {one["id"] for one in told}
            self._cancel(step, "backup", told)
            self._wait()

    def _scheduled(self, step: Step, number: int) -> None:
        wind_back(self.platform, self.application.name, days=2)
        with self._trouble(step):
            for _ in range(3):
                self._ticks(step.requests)
                backups = [one for one in self._records().backups.values() if one["trigger"] == "scheduled"]
                if backups:
                    self._cancel(step, "backup", [max(backups, key=lambda one: one["id"])])
                    break
            self._wait()

    def _restore(self, step: Step, number: int) -> None:
        succeeded = [one for one in self._records().succeeded() if one["id"] in self.truth.contents]
        if not succeeded:
            self.done["steps without a backup to work with"] += 1
            return
        self.application.change()
        before = self.application.contents()
        # What was written in the second in which it is asked for is left alone: it may be newer than the safety backup.
        time.sleep(1 - time.time() % 1)
        asked_at = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
        known = set(self._records().restores)
        with self._trouble(step, transfers=False):
            arguments = [
                "restore", "create", self.application.name, "--from", succeeded[0]["id"], "--overwrite", "--yes", "--detach",
                "--idempotency-key", f"restore-{number}", *step.options,
            ]
            told = self._ask(arguments, step.requests)
            self._cancel(step, "restore", told)
            self._wait()
        ended = self._records()
        new = [one for id, one in ended.restores.items() if id not in known]
        if len({one["id"] for one in new}) > 1:
            self.truth.findings.append(f"one key made {len(new)} restores: {[one['id'] for one in new]}")
        for restore in new:
            self.truth.before[restore["id"]] = before
            # One that stood still was dated back: everything seems to have been written since.
            mirrors = "--mirror" in step.options and restore["created_at"] >= asked_at
            self._look_at_restored(restore, mirrors, before, self.truth.contents[succeeded[0]["id"]])

    def _delete(self, step: Step, number: int) -> None:
        succeeded = self._records().succeeded()
        if not succeeded:
            self.done["steps without a backup to work with"] += 1
            return
        with self._trouble(step):
            self.platform.run("backup", "delete", self.application.name, succeeded[0]["id"], "--yes")
        # What was interrupted is finished by the nightly run.
        self.platform.invoke("Retention", EVENT)

    def _verify(self, step: Step, number: int) -> None:
        succeeded = self._records().succeeded()
        if not succeeded:
            self.done["steps without a backup to work with"] += 1
            return
        with self._trouble(step):
            asked = self.platform.start("backup", "verify", self.application.name, succeeded[0]["id"])
            self._wait()
        try:
            asked.communicate(timeout=10)
        finally:
            asked.kill()
            asked.communicate()

    def _history(self, step: Step, number: int) -> None:
        scheduled = [one for one in self._records().succeeded() if one["trigger"] == "scheduled"]
        if not scheduled or self.truth.history:
            self.done["steps without a backup to work with"] += 1
            return
        self.truth.history = live_through(self.platform, self.application.name, scheduled[0], step.days)
        with self._trouble(step):
            for _ in range(step.requests):
                self._invoke("Retention", {"application": self.application.name})

    # What steps have in common

    def _trouble(self, step: Step, transfers: bool = True) -> "Trouble":
        return Trouble(self, step, transfers)

    def _ask(self, arguments: list[str], side_by_side: int) -> list[dict]:
        """Asks until somebody answers, always with the same key; with nobody's answer there may be a job or none."""
        told: list[dict] = []
        with ThreadPoolExecutor(side_by_side) as pool:
            for _ in range(REQUEST_TRIES):
                said = list(pool.map(lambda _: self.platform.run(*arguments), range(side_by_side)))
                told += [one.json for one in said if one.code == 0]
                if told:
                    return told
                self.done["requests that failed"] += len(said)
        self.done["requests given up"] += 1
        return told

    def _cancel(self, step: Step, kind: str, told: list[dict]) -> None:
        if step.cancel_after is not None and told:
            time.sleep(step.cancel_after)
            said = self.platform.run(kind, "cancel", self.application.name, told[0]["id"])
            self.done["cancellations taken" if said.code == 0 else "cancellations refused"] += 1

    def _ticks(self, count: int) -> None:
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda _: self._invoke("Scheduler", EVENT), range(count)))

    def _invoke(self, function: str, payload: dict) -> None:
        try:
            self.platform.invoke(function, payload)
        except AssertionError:
            self.done[f"calls of {function} that failed"] += 1

    def _wait(self) -> None:
        if not self.settling.wait(STEP_SECONDS):
            self.done["steps that took time to pass"] += 1
            self.end_faults()
            self.truth.findings += self.settling.settle()

    def _records(self) -> Records:
        return Records.read(self.platform.stack, self.application.name)

    def _look_at_restored(self, restore: dict, mirrors: bool, before: dict, wanted: dict) -> None:
        """A database is the one or the other; each file is; and all of them are what was asked for if that succeeded."""
        now, name = self.application.contents(), f"restore {restore['id']} ({restore['state']})"
        found = self.truth.findings
        self.done[f"restores {restore['state']}"] += 1
        for service, content in now.items():
            if service == "DEFAULT":
                if content not in (before[service], wanted[service]):
                    found.append(f"{name}: the database is neither what it was nor what was backed up")
                elif restore["state"] == "succeeded" and content != wanted[service]:
                    found.append(f"{name}: the database is not what was backed up")
                continue
            for key in before[service] | wanted[service] | content:
                if content.get(key) not in (before[service].get(key), wanted[service].get(key)):
                    found.append(f"{name}: the file {key} of {service} is neither what it was nor what was backed up")
            expected = wanted[service] if mirrors else before[service] | wanted[service]
            if restore["state"] == "succeeded" and content != expected:
                differing = sorted(key for key in content.keys() | expected.keys() if content.get(key) != expected.get(key))
                found.append(f"{name}: the files of {service} are not what was backed up: {', '.join(differing)}")


class Trouble:
    """While it lasts things go wrong. Afterwards it is known what was in the application when backups were made meanwhile."""

    def __init__(self, story: Story, step: Step, transfers: bool) -> None:
        self.story, self.step = story, step
        self.transfers = Transfers(story.application) if transfers and story.plan.shape.transfers else None

    def __enter__(self) -> None:
        story = self.story
        self.known = set(story._records().backups)
        self.before = story.application.contents()
        if self.transfers:
            self.transfers.start()
        story.begin_faults()
        self.instants = story.killer.at(self.step.kills, story.plan)

    def __exit__(self, kind, *_) -> None:
        story = self.story
        self.instants.stop()
        story.end_faults()
        if kind is None:
            # Nothing is under way when the next thing is done to the application.
            story.truth.findings += story.settling.settle()
        if self.transfers:
            self.transfers.stop()
        for id in set(story._records().backups) - self.known:
            story.truth.contents[id] = self.before


def wind_back(platform, application: str, days: int) -> None:
    """Lets the application be as it was `days` ago: its last slot is that old, and its next has passed."""
    table, key = platform.stack.client("dynamodb"), {"pk": {"S": f"APP#{application}"}, "sk": {"S": "APP"}}
    item = table.get_item(TableName=platform.stack.table, Key=key, ConsistentRead=True)["Item"]
    ago = lambda days: (datetime.now(timezone.utc) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: E731
    text, record = json.dumps(item), item["record"]["M"]
    for old, new in (
        (item["next_run_at"]["S"], ago(days - 1)),
        (record["next_run_at"]["S"], ago(days - 1)),
        (record["scheduled_until"]["S"], ago(days)),
    ):
        text = text.replace(old, new)
    table.put_item(TableName=platform.stack.table, Item=json.loads(text))


def live_through(platform, application: str, newest: dict, days: int) -> dict[str, str]:
    """Records and objects of a success on each of the days before that of `newest`, as copies of it. Ids and slots' dates."""
    table, stack = platform.stack.client("dynamodb"), platform.stack
    key = {"pk": {"S": f"APP#{application}"}, "sk": {"S": f"BACKUP#{newest['id']}"}}
    original = json.dumps(table.get_item(TableName=stack.table, Key=key, ConsistentRead=True)["Item"])
    made = {}
    for ago in range(days, 0, -1):
        day = date.fromisoformat(newest["slot_date"]) - timedelta(days=ago)
        # A time-ordered id of its day, all but its time that of the original.
        millis = int(datetime(day.year, day.month, day.day, 3, tzinfo=timezone.utc).timestamp() * 1000)
        id = f"{millis >> 16:08x}-{millis & 0xFFFF:04x}{newest['id'][13:]}"
        text = original.replace(newest["id"], id).replace(newest["slot_date"], str(day))
        for moment in ("slot_at", "taken_at", "created_at", "started_at", "finished_at"):
            text = text.replace(newest[moment], f"{day}T03:00:00Z")
        table.put_item(TableName=stack.table, Item=json.loads(text))
        platform.s3.put_object(Bucket=stack.bucket, Key=f"applications/{application}/{id}/README.txt", Body=b"x")
        made[id] = str(day)
    return made
