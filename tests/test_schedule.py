"""Scheduled backups and retention, by the deployed functions: what the year a user waits for comes to."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta, timezone

import pytest

from local.built import TRIED
from platform_under_test import EVENT, MARKS


def item(platform, application, sk):
    table = platform.stack.client("dynamodb")
    return table.get_item(
        TableName=platform.stack.table, Key={"pk": {"S": f"APP#{application}"}, "sk": {"S": sk}}, ConsistentRead=True
    )["Item"]


def wind_back(platform, application, days):
    """Lets the application be as it was `days` ago: its last slot is that old, and its next has long passed."""
    record = item(platform, application, "APP")
    then = (datetime.now(timezone.utc) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    due = (datetime.now(timezone.utc) - timedelta(days=days - 1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = json.dumps(record)
    # The record says it, and the index beside it, each in its own form.
    for old, new in ((record["next_run_at"]["S"], due), (find(record["record"]["M"], "next_run_at"), due), (find(record, "scheduled_until"), then)):
        text = text.replace(old, new)
    platform.stack.client("dynamodb").put_item(TableName=platform.stack.table, Item=json.loads(text))


def find(item, name):
    """The text of an attribute, wherever in the item it is."""
    for key, value in item.items():
        if key == name:
            return value["S"]
        if "M" in value and (found := find(value["M"], name)):
            return found
    return None


@pytest.fixture(scope="module")
def registered(platform, tmp_path_factory):
    platform.bucket("nightly-media", {"a.txt": b"a"})
    platform.register("nightly", tmp_path_factory.mktemp("nightly"), platform.storage("nightly-media"))
    return "nightly"


def test_an_outage_is_caught_up_with_one_backup_however_many_ticks_come(platform, registered):
    wind_back(platform, registered, 5)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: platform.invoke("Scheduler", EVENT), range(4)))
    assert sum(answer["started"] for answer in answers) <= 1
    items = platform.ask("backup", "list", registered, "--trigger", "scheduled")["items"]
    assert len(items) == 1, "one, by these ticks or the minute's own"
    backup = platform.ended(registered, items[0]["id"])
    assert (backup["state"], backup["label"], backup["trigger"]) == ("succeeded", "daily", "scheduled")
    slot = datetime.fromisoformat(backup["slot_at"].replace("Z", "+00:00"))
    assert timedelta(0) <= datetime.now(timezone.utc) - slot < timedelta(days=1)
    record = platform.ask("apps", "get", registered)
    assert datetime.fromisoformat(record["next_run_at"].replace("Z", "+00:00")) > datetime.now(timezone.utc)


def test_sixty_days_leave_what_the_simulation_says(platform, registered, tmp_path):
    platform.bucket("longtime-media", {"a.txt": b"a"})
    platform.register("longtime", tmp_path, platform.storage("longtime-media"))
    wind_back(platform, "longtime", 2)
    platform.invoke("Scheduler", EVENT)
    newest = platform.ended("longtime", platform.ask("backup", "list", "longtime")["items"][0]["id"])
    assert newest["state"] == "succeeded"

    last = date.fromisoformat(newest["slot_date"])
    first = last - timedelta(days=59)
    live_through(platform, newest, first, last)

    simulated = json.loads(
        subprocess.run(
            [TRIED.holdfast, "retention", "simulate", "--policy", "gfs:7/4/12", "--from", str(first), "--days", "60", "--output", "json"],
            check=True, capture_output=True, text=True,
        ).stdout
    )
    wanted = {one["slot"]: one["label"] for one in simulated["kept"]}
    stored = objects(platform)
    # As the nightly schedule calls it: for every application there is.
    summary = platform.invoke("Retention", EVENT)
    assert (summary["failed"], summary["discarded"]) == (0, 60 - len(wanted))
    kept = platform.ask("backup", "list", "longtime", "--state", "succeeded", "--limit", "100")["items"]
    assert {backup["slot_date"]: backup["label"] for backup in kept} == wanted
    for backup in platform.ask("backup", "list", "longtime", "--limit", "100")["items"]:
        assert bool(platform.objects_of(backup)) == (backup["state"] == "succeeded"), backup["slot_date"]
    left = objects(platform)
    assert left.items() <= stored.items(), "what is kept is the very same version"
    gone = set(stored) - set(left)
    assert len({key.split("/")[2] for key in gone}) == 60 - len(wanted)
    versions = platform.s3.list_object_versions(Bucket=platform.stack.bucket, Prefix="applications/longtime/")
    assert {marker["Key"] for marker in versions["DeleteMarkers"]} == gone
    assert gone <= {version["Key"] for version in versions["Versions"]}, "and can be brought back"
    events = platform.ask("backup", "events", "longtime", "--limit", "200")["items"]
    discards = [event for event in events if event["action"] == "discard"]
    assert len(discards) == 60 - len(wanted) and all(event["reason"] for event in discards)

    again = platform.invoke("Retention", {"application": "longtime"})
    assert (again["relabelled"], again["discarded"]) == (0, 0)
    assert objects(platform) == left


def objects(platform):
    """The version of each object of the application's backups."""
    found = platform.s3.list_object_versions(Bucket=platform.stack.bucket, Prefix="applications/longtime/")["Versions"]
    return {one["Key"]: one["VersionId"] for one in found if one["IsLatest"] and not one["Key"].endswith(MARKS)}


def live_through(platform, newest, first, last):
    """Records and objects of a success on each day before the last one's, as copies of it."""
    table = platform.stack.client("dynamodb")
    original = item(platform, "longtime", f"BACKUP#{newest['id']}")
    for number in range((last - first).days):
        day = first + timedelta(days=number)
        # A time-ordered id of its day, all but its time that of the original.
        millis = int(datetime(day.year, day.month, day.day, 3, tzinfo=timezone.utc).timestamp() * 1000)
        id = f"{millis >> 16:08x}-{millis & 0xFFFF:04x}{newest['id'][13:]}"
        text = json.dumps(original).replace(newest["id"], id).replace(newest["slot_date"], str(day))
        for moment in ("slot_at", "taken_at", "created_at", "started_at", "finished_at"):
            text = text.replace(newest[moment], f"{day}T03:00:00Z")
        table.put_item(TableName=platform.stack.table, Item=json.loads(text))
        platform.s3.put_object(Bucket=platform.stack.bucket, Key=f"applications/longtime/{id}/MEDIA/media.tar", Body=b"x")
