"""What an operator does with backups: hold one, delete it by mistake and have it back, try a policy out, ask why."""

import hashlib
import json
import subprocess
from xml.etree import ElementTree

import pytest

from local.built import TRIED
from platform_under_test import MARKS

SVG = "{http://www.w3.org/2000/svg}svg"


@pytest.fixture(scope="module")
def kept(platform, tmp_path_factory):
    """An application with two backups; the older one."""
    platform.bucket("kept-media", {"a.txt": b"a", "b.bin": bytes(range(256)) * 1000})
    sql = "CREATE TABLE notes AS SELECT n, 'note ' || n AS text FROM generate_series(1, 500) n"
    platform.register("kept", tmp_path_factory.mktemp("kept"), platform.database("kept", sql), platform.storage("kept-media"))
    first = platform.ask("backup", "create", "kept")
    platform.ask("backup", "create", "kept")
    return first


def versions(platform, backup):
    prefix = f"applications/{backup['application']}/{backup['id']}/"
    found = platform.s3.list_object_versions(Bucket=platform.stack.bucket, Prefix=prefix)
    found = found.get("Versions", [])
    return {one["Key"]: one["VersionId"] for one in found if one["IsLatest"] and not one["Key"].endswith(MARKS)}


def downloaded(platform, backup, folder):
    platform.ask("backup", "download", "kept", backup["id"], "--to", str(folder))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_a_held_backup_is_nobodys_to_delete(platform, kept):
    held = platform.ask("backup", "hold", "kept", kept["id"], "--reason", "evidence in case 42")
    assert held["hold"]["reason"] == "evidence in case 42" and held["hold"]["by"]
    refused = platform.run("backup", "delete", "kept", kept["id"], "--yes")
    assert refused.code != 0 and "release it first" in refused.err and "case 42" in refused.err
    shown = platform.backup("kept", kept["id"])
    assert shown["retention"]["reason"] == "kept because a hold is on it"
    assert shown["retention"]["discard"]["kind"] == "never"
    assert platform.ask("backup", "release", "kept", kept["id"])["hold"] is None


def test_a_backup_that_was_deleted_by_mistake_comes_back_whole(platform, kept, tmp_path):
    (before, after) = (tmp_path / "before", tmp_path / "after")
    content, stored = downloaded(platform, kept, before), versions(platform, kept)
    # The dump and its rows, the tar and its manifest, backup.json and README.txt.
    assert len(stored) == 6
    deleted = platform.ask("backup", "delete", "kept", kept["id"], "--yes")
    assert deleted["state"] == "expired" and deleted["undelete_until"]
    assert platform.objects_of(kept) == set()
    assert platform.run("backup", "download", "kept", kept["id"], "--to", str(after)).code != 0

    back = platform.ask("backup", "undelete", "kept", kept["id"])
    assert (back["state"], back["artifacts"]) == ("succeeded", kept["artifacts"])
    assert "brought back" in back["hold"]["reason"]
    assert versions(platform, kept) == stored, "the very same versions"
    assert downloaded(platform, kept, after) == content
    actions = [event["action"] for event in platform.ask("backup", "events", "kept")["items"]]
    assert actions.count("undelete") == 1 and {"hold", "release", "delete"} <= set(actions)
    again = platform.run("backup", "undelete", "kept", kept["id"])
    assert again.code != 0 and "no deletion to take back" in again.err
    # The retention that runs at the end of the job, and that of the night, leave it.
    assert platform.invoke("Retention", {"application": "kept"})["discarded"] == 0
    platform.ask("backup", "release", "kept", kept["id"])


def test_what_is_gone_for_good_is_said_and_stays_gone(platform, kept):
    backup = platform.ask("backup", "create", "kept")
    platform.ask("backup", "delete", "kept", backup["id"], "--yes")
    # As the bucket's lifecycle rule does after seven days.
    prefix = f"applications/kept/{backup['id']}/"
    found = platform.s3.list_object_versions(Bucket=platform.stack.bucket, Prefix=prefix)
    for one in found["Versions"] + found["DeleteMarkers"]:
        platform.s3.delete_object(Bucket=platform.stack.bucket, Key=one["Key"], VersionId=one["VersionId"])
    refused = platform.run("backup", "undelete", "kept", backup["id"])
    assert refused.code != 0 and "could not be brought back" in refused.err, refused.err
    shown = platform.backup("kept", backup["id"])
    assert (shown["state"], shown["undelete"]) == ("expired", None)
    reasons = [event["reason"] for event in platform.ask("backup", "events", "kept")["items"] if event["action"] == "undelete"]
    assert any("is not there any more" in reason for reason in reasons), reasons


def test_a_policy_is_tried_out_before_it_is_applied(platform, kept, tmp_path):
    before = platform.ask("backup", "list", "kept")
    tried = platform.ask("retention", "preview", "kept", "--on-demand", "age_then_count:0/1")
    assert tried["policies_then"]["on_demand"] == "age_then_count:0/1"
    assert tried["now"]["discarded"] == 0 and tried["then"]["discarded"] == tried["now"]["kept"] - 1 > 0
    assert tried["now"]["month_nano_dollars"] > tried["then"]["month_nano_dollars"] > 0
    picture = tmp_path / "then.svg"
    said = platform.run("retention", "preview", "kept", "--on-demand", "age_then_count:0/1", "--svg", str(picture))
    assert said.code != 0 and "choose one of them" in said.err, "JSON or a picture"
    assert platform.ask("backup", "list", "kept") == before, "it changes nothing"


def test_an_operator_sees_why_and_when_and_what_it_costs(platform, kept, tmp_path):
    report = platform.ask("retention", "show", "kept")
    assert {line["action"] for line in report["backups"]} == {"keep"}
    assert all(line["reason"] and line["discard"]["kind"] for line in report["backups"])
    assert report["cost"]["stored"]["month_nano_dollars"] > 0
    assert report["cost"]["stored"]["region"] == platform.stack.region


def test_the_calendar_is_a_picture(platform, kept, tmp_path):
    pictures = {"show": (), "preview": ("--on-demand", "age_then_count:0/1")}
    for command, options in pictures.items():
        picture = tmp_path / f"{command}.svg"
        arguments = [TRIED.holdfast, "--api", platform.stack.api_url, "retention", command, "kept", *options, "--svg", str(picture)]
        subprocess.run(arguments, env=platform.stack.env, check=True, timeout=60)
        drawn = ElementTree.parse(picture).getroot()
        assert drawn.tag == SVG and "Backups of kept" in "".join(drawn.itertext())


def test_a_change_of_a_plan_is_in_its_trail(platform, tmp_path):
    document = tmp_path / "plan.json"
    document.write_text(json.dumps({"scheduled": {"kind": "gfs", "daily": 3, "weekly": 0, "monthly": 0}}))
    platform.ask("plans", "put", "brief", "--file", str(document))
    events = platform.ask("plans", "events", "brief")["items"]
    assert [event["action"] for event in events] == ["plan_change"]
    assert "gfs:3/0/0" in events[0]["to"] and events[0]["actor"]
