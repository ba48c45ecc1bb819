"""statemachines/job.asl.json as it deploys, run on the local stack with a worker whose answers are scripted."""

import io
import json
import re
import sys
import time
import uuid
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DEFINITION = (ROOT / "statemachines" / "job.asl.json").read_text()
TABLE = "scripts"
ROLE = "arn:aws:iam::000000000000:role/any"
PERMANENT = {"raise": "Permanent"}
TRANSIENT = {"raise": "Transient"}
DONE = {"status": "done"}
CONTINUE = {"status": "continue"}


def wait(seconds):
    return {"status": "wait", "seconds": seconds}


def fan_out(*names):
    return {"status": "fan_out", "ranges": [{"name": name, "from": 0} for name in names]}


class Machine:
    """The deployed definition, and the scripts of its worker."""

    def __init__(self, stack):
        self.dynamodb = stack.client("dynamodb")
        self.states = stack.client("stepfunctions")
        self.dynamodb.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        )
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w") as archive:
            program = (ROOT / "tests" / "scripted_worker.py").read_text()
            archive.writestr("bootstrap", f"#!{sys.executable}\n{program}")
        definition = DEFINITION.replace("${Partition}", "aws")
        for name in ("Worker", "Restore", "Retention"):
            function = stack.client("lambda").create_function(
                FunctionName=name,
                Runtime="provided.al2023",
                Handler="bootstrap",
                Role=ROLE,
                Timeout=30,
                Code={"ZipFile": package.getvalue()},
                Environment={"Variables": {"TABLE": TABLE}},
            )["FunctionArn"]
            definition = definition.replace(f"${{{name}FunctionArn}}", function)
        assert "${" not in definition
        self.arn = self.states.create_state_machine(name="job", definition=definition, roleArn=ROLE)["stateMachineArn"]

    def run(self, script=(), ranges=None, abort=(), retain=(), given_up=None, kind="backup"):
        """Run one job to its end, or give it up. Returns the execution, and the events its worker was called with, in order."""
        job = str(uuid.uuid4())
        scripts = {"script": script, "abort": abort, "retain": retain}
        scripts |= {f"script#{name}": answers for name, answers in (ranges or {}).items()}
        for name, answers in scripts.items():
            for number, answer in enumerate(answers, 1):
                self.dynamodb.put_item(
                    TableName=TABLE,
                    Item={"pk": {"S": job}, "sk": {"S": f"{name}#{number}"}, "answer": {"S": json.dumps(answer)}},
                )
        # The application is named as the job, so that the call for retention is found under it too.
        given = {"job": {"kind": kind, "application": job, "id": job}} | ({"abort": given_up} if given_up else {})
        execution = self.states.start_execution(stateMachineArn=self.arn, name=job, input=json.dumps(given))
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            ended = self.states.describe_execution(executionArn=execution["executionArn"])
            if ended["status"] != "RUNNING":
                return ended, self.calls(job, given["job"])
            time.sleep(0.05)
        raise AssertionError(f"still running: {self.calls(job, given['job'])}")

    def calls(self, pk, job):
        answer = self.dynamodb.query(
            TableName=TABLE,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :call)",
            ExpressionAttributeValues={":pk": {"S": pk}, ":call": {"S": "call#"}},
        )
        events = [json.loads(item["event"]["S"]) for item in answer["Items"]]
        assert all(event["job"] == job for event in events if event["operation"] != "retain")
        # Who restores has other rights than who backs up.
        works = "Restore" if job["kind"] == "restore" else "Worker"
        for event, item in zip(events, answer["Items"], strict=True):
            assert item["function"]["S"] == ("Retention" if event["operation"] == "retain" else works), item
        return events


@pytest.fixture(scope="module")
def machine(bare_stack):
    return Machine(bare_stack)


def names(events):
    """Each call in a word: the operation, or the range it worked on."""
    return [event["range"]["name"] if event.get("range") else event["operation"] for event in events]


@pytest.mark.parametrize(
    "script, calls",
    [
        pytest.param([DONE], ["slice", "retain"], id="done"),
        pytest.param([CONTINUE, CONTINUE, DONE], ["slice"] * 3 + ["retain"], id="continue then done"),
        pytest.param([wait(30), DONE], ["slice", "slice", "retain"], id="wait then done"),
        pytest.param([wait(0), DONE], ["slice", "slice", "retain"], id="wait no time"),
        pytest.param([TRANSIENT, TRANSIENT, DONE], ["slice"] * 3 + ["retain"], id="transient twice then done"),
        pytest.param([{"raise": "Runtime.ExitError"}, DONE], ["slice", "slice", "retain"], id="crash then done"),
        pytest.param([{"raise": "Sandbox.Timedout"}, DONE], ["slice", "slice", "retain"], id="timeout then done"),
    ],
)
def test_a_job_succeeds(machine, script, calls):
    ended, events = machine.run(script)
    assert (ended["status"], names(events)) == ("SUCCEEDED", calls), ended
    assert events[0] == {"operation": "slice", "job": events[0]["job"], "range": None}


def test_a_restore_is_worked_on_by_a_function_of_its_own(machine):
    ended, events = machine.run([CONTINUE, fan_out("a"), DONE], kind="restore")
    assert (ended["status"], names(events)) == ("SUCCEEDED", ["slice", "slice", "a", "slice", "retain"]), ended
    ended, events = machine.run([PERMANENT], kind="restore")
    assert (ended["status"], names(events)) == ("FAILED", ["slice", "abort"]), ended


@pytest.mark.parametrize("error", ["Permanent", "Cancelled"])
def test_what_cannot_succeed_is_aborted_once_and_never_retried(machine, error):
    ended, events = machine.run([{"raise": error}])
    assert (ended["status"], ended.get("error")) == ("FAILED", error), (ended, events)
    assert names(events) == ["slice", "abort"]
    assert events[1]["error"]["Error"] == error
    assert "as the script says" in events[1]["error"]["Cause"]


def test_a_job_that_keeps_failing_is_given_up_after_five_tries_and_aborted(machine):
    ended, events = machine.run([TRANSIENT] * 20)
    assert (ended["status"], ended.get("error")) == ("FAILED", "Transient"), (ended, events)
    assert names(events) == ["slice"] * 5 + ["abort"]


def test_the_tries_are_counted_anew_after_each_progress(machine):
    ended, events = machine.run([*[TRANSIENT] * 4, CONTINUE, *[TRANSIENT] * 4, DONE])
    assert (ended["status"], names(events)) == ("SUCCEEDED", ["slice"] * 10 + ["retain"]), ended


@pytest.mark.parametrize("error", ["Transient", "Permanent", "Runtime.ExitError"])
def test_abort_is_retried_whatever_its_error(machine, error):
    ended, events = machine.run([PERMANENT], abort=[{"raise": error}, {"raise": error}])
    assert (ended["status"], ended.get("error")) == ("FAILED", "Permanent"), (ended, events)
    assert names(events) == ["slice", "abort", "abort", "abort"]


def test_an_abort_that_never_succeeds_leaves_the_first_error_to_be_seen(machine):
    ended, events = machine.run([PERMANENT], abort=[TRANSIENT] * 20)
    assert (ended["status"], ended.get("error")) == ("FAILED", "Permanent"), (ended, events)
    assert names(events) == ["slice"] + ["abort"] * 11


def test_an_abort_that_cannot_delete_yet_is_waited_for(machine):
    ended, events = machine.run([PERMANENT], abort=[wait(30), TRANSIENT, wait(0)])
    assert (ended["status"], ended.get("error")) == ("FAILED", "Permanent"), (ended, events)
    assert names(events) == ["slice"] + ["abort"] * 4
    assert all(event["error"]["Error"] == "Permanent" for event in events[1:])


def test_a_job_that_was_given_up_goes_straight_to_abort(machine):
    why = {"Error": "Stalled", "Cause": "nothing moved for an hour"}
    ended, events = machine.run(abort=[TRANSIENT], given_up=why)
    assert (ended["status"], ended.get("error"), ended.get("cause")) == ("FAILED", "Stalled", why["Cause"]), (ended, events)
    assert names(events) == ["abort", "abort"]
    assert events[0]["error"] == why


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"status": "finished"}, id="unknown status"),
        pytest.param({}, id="no status"),
        pytest.param({"status": "wait"}, id="wait without seconds"),
        pytest.param({"status": "wait", "seconds": "soon"}, id="wait for a word"),
        pytest.param({"status": "wait", "seconds": -1}, id="wait for the past"),
        pytest.param({"status": "wait", "seconds": 1.5}, id="wait for a fraction"),
        pytest.param({"status": "fan_out"}, id="fan_out without ranges"),
        pytest.param({"status": "fan_out", "ranges": 3}, id="fan_out over a number"),
    ],
)
def test_an_answer_nobody_understands_is_aborted(machine, answer):
    ended, events = machine.run([answer])
    assert (ended["status"], ended.get("error")) == ("FAILED", "Permanent"), (ended, events)
    assert names(events) == ["slice", "abort"]
    assert "none of done, continue, wait and fan_out" in events[1]["error"]["Cause"]


def test_ranges_are_worked_on_slice_by_slice_and_then_the_whole_goes_on(machine):
    ended, events = machine.run(
        [fan_out("a", "b", "c", "d", "e", "f"), CONTINUE, DONE],
        ranges={"b": [CONTINUE, wait(2), DONE], "c": [TRANSIENT, DONE]},
    )
    assert ended["status"] == "SUCCEEDED", ended
    called = names(events)
    assert called[0] == "slice" and called[-3:] == ["slice", "slice", "retain"]
    assert sorted(called[1:-3]) == ["a", "b", "b", "b", "c", "c", "d", "e", "f"]
    assert all(event["range"]["from"] == 0 for event in events if event.get("range"))


def test_a_single_range_is_a_list_too(machine):
    ended, events = machine.run([fan_out("a"), DONE])
    assert (ended["status"], names(events)) == ("SUCCEEDED", ["slice", "a", "slice", "retain"]), ended


def test_no_ranges_is_no_work(machine):
    ended, events = machine.run([fan_out(), DONE])
    assert (ended["status"], names(events)) == ("SUCCEEDED", ["slice", "slice", "retain"]), ended


def test_a_range_that_fails_aborts_the_job(machine):
    ended, events = machine.run([fan_out("a", "b")], ranges={"b": [PERMANENT]})
    assert (ended["status"], ended.get("error")) == ("FAILED", "Permanent"), (ended, events)
    called = names(events)
    assert called.count("b") == 1 and called.count("abort") == 1 and called[-1] == "abort"


def test_a_range_cannot_fan_out_again(machine):
    ended, events = machine.run([fan_out("a")], ranges={"a": [fan_out("b")]})
    assert (ended["status"], ended.get("error")) == ("FAILED", "Permanent"), (ended, events)
    assert names(events) == ["slice", "a", "abort"]


def test_retention_that_fails_does_not_fail_the_job(machine):
    ended, events = machine.run([DONE], retain=[TRANSIENT] * 9)
    assert (ended["status"], names(events)) == ("SUCCEEDED", ["slice"] + ["retain"] * 3), ended


def states_of(machine):
    """Every state, also those within a Map, by name."""
    for name, state in machine["States"].items():
        yield name, state
        if "ItemProcessor" in state:
            yield from states_of(state["ItemProcessor"])


def test_every_task_has_a_timeout_and_backs_off_with_jitter():
    tasks = {name: state for name, state in states_of(json.loads(DEFINITION)) if state["Type"] == "Task"}
    assert set(tasks) == {"Slice", "RangeSlice", "Abort", "Retain"}
    for name, task in tasks.items():
        assert task["TimeoutSeconds"] > 900, f"{name}: Lambda's own limit comes first"
        for retry in task["Retry"]:
            if retry.get("MaxAttempts") != 0:
                assert retry["JitterStrategy"] == "FULL" and retry["BackoffRate"] > 1, name


def test_ranges_are_retried_as_the_whole_is():
    states = dict(states_of(json.loads(DEFINITION)))
    assert states["RangeSlice"]["Retry"] == states["Slice"]["Retry"]


def test_the_template_fills_every_placeholder():
    template = (ROOT / "template.yaml").read_text()
    for name in set(re.findall(r"\$\{(\w+)\}", DEFINITION)):
        assert re.search(rf"^ +{name}: !(GetAtt|Ref) ", template, re.MULTILINE), name


def test_no_more_than_four_ranges_at_once():
    assert json.loads(DEFINITION)["States"]["Ranges"]["MaxConcurrency"] == 4
