"""The catalogue on the deployed stack: the table is lost, and everything comes back from the bucket as it was."""

import json
import time
from pathlib import Path

import pytest

from checks import template
from local.postgres import Postgres
from local.stack import Stack
from platform_under_test import EVENT, Platform
from test_restores import Shop
from test_schedule import wind_back

ROOT = Path(__file__).resolve().parent.parent
PLAN = {
    "schedule": {"kind": "daily", "window": {"start": "01:00", "minutes": 240}},
    "scheduled": {"kind": "gfs", "daily": 3, "weekly": 1, "monthly": 1},
}


@pytest.fixture(scope="module")
def losing(tmp_path_factory):
    """A platform of its own, for its records are lost."""
    stack = Stack(tmp_path_factory.mktemp("losing"))
    with stack.start(SFN_WAIT_SCALE="0.02"), Postgres(tmp_path_factory.mktemp("losing-postgres") / "cluster") as server:
        stack.deploy()
        yield Platform(stack, server)


@pytest.fixture(scope="module")
def shop(losing, tmp_path_factory):
    """An application with backups of every kind: one held, one verified, one by schedule, one deleted."""
    folder = tmp_path_factory.mktemp("lost")
    document = folder / "plan.json"
    document.write_text(json.dumps(PLAN))
    losing.ask("plans", "put", "strict", "--file", str(document))
    shop = Shop(losing, "lost", folder, plan="strict", restore_into=["elsewhere"])
    shop.then = shop.state()
    shop.held, shop.verified, shop.deleted = shop.backup(), shop.backup(), shop.backup()
    losing.ask("backup", "hold", "lost", shop.held["id"], "--reason", "evidence in case 42: ünïcödé")
    assert losing.ask("backup", "verify", "lost", shop.verified["id"])["verification"]["state"] == "passed"
    losing.ask("backup", "delete", "lost", shop.deleted["id"], "--yes")
    wind_back(losing, "lost", 2)
    losing.invoke("Scheduler", EVENT)
    [scheduled] = losing.ask("backup", "list", "lost", "--trigger", "scheduled")["items"]
    assert losing.ended("lost", scheduled["id"])["state"] == "succeeded"
    # A removed application keeps its backups.
    losing.bucket("left-media", {"a.txt": b"a"})
    losing.register("left", folder, losing.storage("left-media"))
    losing.ask("backup", "create", "left")
    losing.run("apps", "delete", "left", "--backups", "keep", "--yes")
    return shop


def catalog(platform, command, *options):
    return platform.run("catalog", command, "--bucket", platform.stack.bucket, "--table", platform.stack.table, *options)


def items(platform):
    pages = platform.stack.client("dynamodb").get_paginator("scan").paginate(TableName=platform.stack.table, ConsistentRead=True)
    return [item for page in pages for item in page["Items"]]


def table_of_the_manual():
    return json.loads((ROOT / "docs" / "catalog.md").read_text().split("```json\n")[1].split("```")[0])


def drop(platform):
    """Drops the table, and makes an empty one as docs/catalog.md says."""
    tables, name = platform.stack.client("dynamodb"), platform.stack.table
    tables.update_table(TableName=name, DeletionProtectionEnabled=False)
    tables.delete_table(TableName=name)
    tables.create_table(TableName=name, **table_of_the_manual())
    assert items(platform) == []


def test_the_table_that_is_made_by_hand_is_the_templates(losing):
    """But for what can only be turned on afterwards."""
    made = table_of_the_manual()
    table = template.load((ROOT / "template.yaml").read_text())["Resources"]["Table"]["Properties"]
    encrypted = {"SSEEnabled": made.pop("SSESpecification")["Enabled"], "SSEType": "KMS"}
    later = {"PointInTimeRecoverySpecification", "TimeToLiveSpecification"}
    assert made | {"SSESpecification": encrypted} == {key: value for key, value in table.items() if key not in later}


def good(platform, application):
    """What the list shows of the backups that can be restored, but for how long links to them work."""
    backups = platform.ask("backup", "list", application, "--state", "succeeded")["items"]
    return [{key: value for key, value in backup.items() if key != "link_until"} for backup in backups]


def seen(platform, application):
    """What an operator sees of an application: its registration, its backups, and what becomes of them."""
    registered = platform.ask("apps", "get", application)
    report = platform.ask("retention", "show", application)
    preview = platform.ask("retention", "preview", application, "--policy", "gfs:1/0/0", "--on-demand", "age_then_count:0/1")
    actions = [
        {key: line[key] for key in ("id", "action", "label", "reason")} for line in report["backups"]
    ]
    verdicts = [{key: line[key] for key in ("id", "now", "then")} for line in preview["backups"]]
    plan = platform.ask("plans", "get", registered["spec"]["plan"])["spec"]
    return registered["spec"], plan, good(platform, application), actions, verdicts


def test_the_records_come_back_as_they_were(losing, shop, tmp_path):
    agreed = catalog(losing, "check")
    assert agreed.code == 0 and agreed.json == {"differences": []}, agreed.out + agreed.err
    before, left = seen(losing, "lost"), good(losing, "left")
    assert len(before[2]) == 3 and len(left) == 1

    drop(losing)
    lost = catalog(losing, "check")
    assert lost.code == 1 and "catalog rebuild" in lost.err
    named = [(one.get("plan"), one.get("application"), one.get("backup")) for one in lost.json["differences"]]
    assert {one["difference"] for one in lost.json["differences"]} == {"no_record"}
    backups = [(None, "lost", one["id"]) for one in before[2]] + [(None, "left", one["id"]) for one in left]
    wanted = [("strict", None, None), (None, "lost", None), (None, "left", None), *backups]
    assert sorted(named, key=str) == sorted(wanted, key=str)

    dry = catalog(losing, "rebuild", "--dry-run")
    assert dry.code == 0 and dry.json["rebuilt"] is None and len(dry.json["planned"]) == len(wanted), dry.err
    assert items(losing) == [], "a dry run makes nothing"
    made = catalog(losing, "rebuild", "--yes")
    assert made.code == 0, made.err
    assert made.json["rebuilt"] == {"plans": 1, "applications": 1, "removed": 1, "backups": 4, "already_there": 0}
    assert made.json["left"] == []
    written = items(losing)
    again = catalog(losing, "rebuild", "--yes")
    assert again.code == 0 and again.json["planned"] == []
    assert items(losing) == written, "there was nothing more to make"
    assert catalog(losing, "check").code == 0

    assert seen(losing, "lost") == before
    assert good(losing, "left") == left
    assert losing.run("apps", "get", "left").code != 0, "what was removed stays so"
    held = losing.backup("lost", shop.held["id"])
    assert held["hold"]["reason"] == "evidence in case 42: ünïcödé"
    assert losing.run("backup", "delete", "lost", held["id"], "--yes").code != 0
    assert losing.run("backup", "show", "lost", shop.deleted["id"]).code != 0, "what was deleted stays so"


def test_what_came_back_is_downloaded_and_restored(losing, shop, tmp_path):
    losing.ask("backup", "download", "lost", shop.held["id"], "--to", str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 2
    shop.change()
    assert shop.state() != shop.then
    # What is written in the second in which a restore is asked for is not removed by it.
    time.sleep(1.1)
    restored = shop.restore("--from", shop.held["id"], "--overwrite", "--mirror")
    assert restored.code == 0, restored.err
    assert shop.state() == shop.then


def test_life_goes_on_and_no_slot_runs_twice(losing, shop):
    assert losing.invoke("Scheduler", EVENT)["started"] == 0
    made = shop.backup()
    assert made["state"] == "succeeded"
    assert losing.invoke("Retention", {"application": "lost"})["failed"] == 0
    assert catalog(losing, "check", "--application", "lost").code == 0


def test_what_is_wrong_in_the_bucket_is_named_and_nothing_is_made_of_it(losing, shop):
    where = f"applications/lost/{shop.verified['id']}/"
    stray = "applications/lost/0195d9a2-0000-7000-8000-000000000001/"
    put = {"StorageClass": "STANDARD_IA", "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": losing.stack.key_arn}
    losing.s3.put_object(Bucket=losing.stack.bucket, Key=f"{where}backup.json", Body=b"{", **put)
    losing.s3.put_object(Bucket=losing.stack.bucket, Key=f"{stray}DEFAULT/database.dump", Body=b"half", **put)
    said = losing.run(
        "catalog", "check", "--bucket", losing.stack.bucket, "--table", losing.stack.table, "--application", "lost"
    )
    assert said.code == 1
    found = {one["difference"]: one["words"] for one in said.json["differences"]}
    assert set(found) == {"unreadable", "not_in_bucket", "leftover"}, found
    assert f"{where}backup.json cannot be read" in found["unreadable"] and stray in found["leftover"]
    before = items(losing)
    made = catalog(losing, "rebuild", "--yes")
    assert made.code == 0 and made.json["planned"] == [] and len(made.json["left"]) == 3
    assert items(losing) == before
