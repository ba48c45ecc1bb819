"""What the deployed functions tell others: on the bus, and as metrics in their logs."""

import json
import time
from datetime import datetime, timedelta, timezone

import pytest

from platform_under_test import EVENT, PATIENCE


@pytest.fixture(scope="module")
def queue(platform):
    """A queue of somebody who wants to know of everything."""
    sqs, events = platform.stack.client("sqs"), platform.stack.client("events")
    url = sqs.create_queue(QueueName="of-holdfast")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="of-holdfast", EventPattern=json.dumps({"source": ["holdfast"]}))
    events.put_targets(Rule="of-holdfast", Targets=[{"Id": "queue", "Arn": arn}])
    heard: list[dict] = []

    def until(kind: str, application: str) -> dict:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", []):
                heard.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            for event in heard:
                if (event["detail-type"], event["detail"]["application"]) == (kind, application):
                    return event
        raise AssertionError(f"no {kind} of {application}: {heard}")

    return until


def metrics(platform, name: str) -> list[dict]:
    """The lines of the logs that CloudWatch makes this metric of."""
    found = []
    for line in platform.logs().splitlines():
        if '"_aws"' in line:
            entry = json.loads(line[line.index("{") :])
            for directive in entry["_aws"]["CloudWatchMetrics"]:
                assert (directive["Namespace"], directive["Dimensions"]) == ("Holdfast", [["Stack"]])
                if directive["Metrics"] == [{"Name": name, "Unit": "Count"}]:
                    found.append(entry)
    return found


def test_a_backup_that_succeeds_is_told_and_counted(platform, queue, tmp_path):
    platform.bucket("told-media", {"a.txt": b"a"})
    platform.register("told", tmp_path, platform.storage("told-media"))
    backup = platform.ended("told", platform.ask("backup", "create", "told")["id"])
    assert backup["state"] == "succeeded"
    event = queue("Backup Succeeded", "told")
    assert event["source"] == "holdfast"
    assert event["detail"] == {
        "application": "told", "at": backup["finished_at"], "backup": backup["id"], "state": "succeeded",
        "trigger": "on_demand", "bytes": sum(one["object"]["size"] for one in backup["artifacts"]),
    }
    [counted] = [line for line in metrics(platform, "BackupsSucceeded") if line["application"] == "told"]
    assert (counted["BackupsSucceeded"], bool(counted["Stack"])) == (1, True)


def test_a_backup_that_fails_is_told_with_its_reason_and_no_secret(platform, queue, tmp_path):
    service = platform.database("unlucky")
    platform.stack.client("secretsmanager").put_secret_value(
        SecretId=service["secret_arn"], SecretString=json.dumps({"username": "unlucky", "password": "wrong-as-can-be"})
    )
    platform.register("unlucky", tmp_path, service)
    assert platform.run("backup", "create", "unlucky").code != 0
    [backup] = platform.ask("backup", "list", "unlucky")["items"]
    assert backup["state"] == "failed"
    event = queue("Backup Failed", "unlucky")
    assert (event["detail"]["backup"], event["detail"]["failure"]["code"]) == (backup["id"], backup["failure"]["code"])
    assert "wrong-as-can-be" not in json.dumps(event)
    assert len([line for line in metrics(platform, "BackupsFailed") if line["application"] == "unlucky"]) == 1


def test_an_application_without_a_success_is_overdue_after_a_night(platform, queue, tmp_path):
    platform.bucket("overdue-media", {"a.txt": b"a"})
    platform.register("overdue", tmp_path, platform.storage("overdue-media"))
    assert platform.ask("apps", "get", "overdue")["overdue_since"] is None
    date_back(platform, "overdue", timedelta(days=3))
    overdue = platform.invoke("Retention", EVENT)["overdue"]
    assert overdue >= 1, "this one, whoever else is"
    since = platform.ask("apps", "get", "overdue")["overdue_since"]
    assert queue("Application Overdue", "overdue")["detail"]["overdue_since"] == since
    assert metrics(platform, "OverdueApplications")[-1]["OverdueApplications"] == overdue


def date_back(platform, application: str, by: timedelta) -> None:
    """Lets an application have been registered earlier."""
    table, key = platform.stack.client("dynamodb"), {"pk": {"S": f"APP#{application}"}, "sk": {"S": "APP"}}
    item = table.get_item(TableName=platform.stack.table, Key=key, ConsistentRead=True)["Item"]
    then = (datetime.now(timezone.utc) - by).strftime("%Y-%m-%dT%H:%M:%SZ")
    table.put_item(TableName=platform.stack.table, Item=dated(item, then))


def dated(item: dict, then: str) -> dict:
    """The same item, with `then` for the moment its schedule began, wherever that stands."""
    return {
        name: {"S": then} if name == "scheduled_since" else {"M": dated(value["M"], then)} if "M" in value else value
        for name, value in item.items()
    }
