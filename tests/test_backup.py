"""A backup of an application, from its registration to stock tools reading what was downloaded."""

import hashlib
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "demo"))

import restored_database  # noqa: E402
import stored_objects  # noqa: E402

LONG_KEY = "media/" + "ü" * 100 + "/" + "名" * 80 + "/" + "x" * (1024 - 6 - 200 - 1 - 240 - 1)
FILES = {
    "media/a.txt": b"hello",
    "media/empty.txt": b"",
    "media/folder/../up.txt": b"not a path",
    "media//double.txt": b"an empty segment",
    "media/big.bin": bytes(range(256)) * 40_000,
    LONG_KEY: b"a key of 1,024 bytes",
}
SQL = """
CREATE TABLE orders (id bigserial PRIMARY KEY, note text, data jsonb, tags text[]);
INSERT INTO orders (note, data, tags)
SELECT 'order ' || n, jsonb_build_object('n', n), ARRAY['a', 'b' || n] FROM generate_series(1, 3000) n;
CREATE TABLE "Select" ("from" int, "wh""ere" bytea);
INSERT INTO "Select" VALUES (1, '\\x00ff'), (NULL, NULL);
CREATE VIEW recent AS SELECT * FROM orders WHERE id > 2900;
"""


@pytest.fixture(scope="module")
def backed_up(platform, tmp_path_factory):
    folder = tmp_path_factory.mktemp("backed-up")
    assert len(LONG_KEY.encode()) == 1024
    platform.bucket("gallery-media", FILES)
    platform.s3.put_object(
        Bucket="gallery-media", Key="media/a.txt", Body=FILES["media/a.txt"], ContentType="text/plain; charset=utf-8",
        CacheControl="max-age=60", Metadata={"owner": "anna"},
    )
    platform.register("gallery", folder, platform.database("gallery", SQL), platform.storage("gallery-media", "media/"))
    return platform.ask("backup", "create", "gallery", "--note", "before the migration")


def test_it_succeeds_and_says_what_it_holds(platform, backed_up):
    assert (backed_up["state"], backed_up["trigger"], backed_up["label"]) == ("succeeded", "on_demand", None)
    assert [artifact["service"] for artifact in backed_up["artifacts"]] == ["DEFAULT", "MEDIA"]
    database, media = (artifact["contents"] for artifact in backed_up["artifacts"])
    assert (database["tables"], database["rows"]) == (2, 3002)
    assert media["files"] == len(FILES)
    assert platform.ask("backup", "show", "gallery", "latest")["id"] == backed_up["id"]
    actions = [event["action"] for event in platform.ask("backup", "events", "gallery")["items"]]
    assert {"register", "request", "succeed"} <= set(actions)


def test_every_object_is_stored_as_promised(platform, backed_up):
    database = {"DEFAULT/database.dump", "DEFAULT/database.rows.jsonl"}
    media = {"MEDIA/media.tar", "MEDIA/media.manifest.jsonl.zst"}
    assert platform.objects_of(backed_up) == {"backup.json", *database, *media}
    assert len(stored_objects.read_back(platform.s3, platform.stack.bucket, backed_up)) == 2
    for name in platform.objects_of(backed_up):
        key = f"applications/gallery/{backed_up['id']}/{name}"
        head = platform.s3.head_object(Bucket=platform.stack.bucket, Key=key, ChecksumMode="ENABLED")
        found = (head["StorageClass"], head["ServerSideEncryption"], head["SSEKMSKeyId"], head["BucketKeyEnabled"])
        assert found == ("STANDARD_IA", "aws:kms", platform.stack.key_arn, True), key
        assert head["ChecksumType"] == "FULL_OBJECT", key


def test_the_prefix_describes_the_backup_completely(platform, backed_up):
    key = f"applications/gallery/{backed_up['id']}/backup.json"
    document = json.loads(platform.s3.get_object(Bucket=platform.stack.bucket, Key=key)["Body"].read())
    assert (document["format"], document["version"]) == ("holdfast-backup", 1)
    assert document["backup"]["artifacts"] == backed_up["artifacts"]
    assert document["backup"]["note"] == "before the migration"
    assert document["application"]["services"][0]["database"] == "gallery"
    assert document["plan"]["scheduled"] == {"kind": "gfs", "daily": 7, "weekly": 4, "monthly": 12}


def test_stock_tools_read_what_was_downloaded(platform, backed_up, tmp_path):
    report = platform.ask("backup", "download", "gallery", "latest", "--to", str(tmp_path))
    files = {file["service"]: Path(file["path"]) for file in report["files"]}

    before = restored_database.contents(platform.server, "gallery")
    restored_database.restore(platform.server, files["DEFAULT"], "gallery_restored")
    restored_database.compare(before, restored_database.contents(platform.server, "gallery_restored"))

    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    tar = subprocess.run(["tar", "xf", files["MEDIA"], "-C", unpacked, "--no-same-owner"], capture_output=True, text=True)
    assert (tar.returncode, tar.stderr) == (0, "")
    with tarfile.open(files["MEDIA"]) as archive:
        assert archive.getmembers()[-1].name == "MANIFEST.jsonl"
    header, *lines = [json.loads(line) for line in (unpacked / "MANIFEST.jsonl").read_text().splitlines()]
    assert header["files"] == len(FILES)
    assert {"media/" + line["key"] for line in lines} == set(FILES)
    for line in lines:
        content = (unpacked / line["member"]).read_bytes()
        assert content == FILES["media/" + line["key"]]
        assert hashlib.sha256(content).hexdigest() == line["sha256"]
        assert ".." not in Path(line["member"]).parts
    described = next(line for line in lines if line["key"] == "a.txt")
    assert described["content_type"] == "text/plain; charset=utf-8"
    assert (described["cache_control"], described["metadata"]) == ("max-age=60", {"owner": "anna"})


def test_a_download_never_overwrites_what_is_another_file(platform, backed_up, tmp_path):
    report = platform.ask("backup", "download", "gallery", "latest", "--service", "DEFAULT", "--to", str(tmp_path))
    Path(report["files"][0]["path"]).write_bytes(b"mine")
    said = platform.run("backup", "download", "gallery", "latest", "--service", "DEFAULT", "--to", str(tmp_path))
    assert said.code == 1
    assert Path(report["files"][0]["path"]).read_bytes() == b"mine"


def test_an_empty_database_and_an_empty_bucket_make_a_backup(platform, tmp_path):
    platform.bucket("hollow-media")
    platform.register("hollow", tmp_path, platform.database("hollow"), platform.storage("hollow-media"))
    backup = platform.ask("backup", "create", "hollow")
    assert backup["state"] == "succeeded"
    report = platform.ask("backup", "download", "hollow", backup["id"], "--to", str(tmp_path))
    files = {file["service"]: file["path"] for file in report["files"]}
    with tarfile.open(files["MEDIA"]) as archive:
        assert archive.getnames() == ["MANIFEST.jsonl"]
    listed = subprocess.run([platform.server.programs / "pg_restore", "-l", files["DEFAULT"]], capture_output=True, text=True)
    assert (listed.returncode, listed.stderr) == (0, "")


def test_several_services_of_a_kind_fan_out_and_come_together(platform, tmp_path):
    services = []
    for number in range(3):
        name = f"mall-{number}-media"
        platform.bucket(name, {f"{n}.bin": bytes([number]) * 1000 for n in range(20)})
        services.append(platform.storage(name) | {"name": f"MEDIA{number}"})
    platform.register("mall", tmp_path, *services)
    backup = platform.ask("backup", "create", "mall")
    assert backup["state"] == "succeeded"
    assert [artifact["contents"]["files"] for artifact in backup["artifacts"]] == [20, 20, 20]
    history = platform.stack.client("stepfunctions").get_execution_history(
        executionArn=platform.stack.state_machine_arn.replace(":stateMachine:", ":execution:") + f":{backup['id']}"
    )["events"]
    assert any(event["type"] == "MapStateEntered" for event in history)


def test_deleting_takes_the_objects_and_leaves_the_record(platform, tmp_path):
    platform.bucket("gone-media", {"a.txt": b"a"})
    platform.register("gone", tmp_path, platform.storage("gone-media"))
    backup = platform.ask("backup", "create", "gone")
    platform.ask("backup", "delete", "gone", backup["id"], "--yes")
    assert platform.objects_of(backup) == set()
    assert platform.backup("gone", backup["id"])["state"] == "expired"
    said = platform.run("backup", "download", "gone", backup["id"], "--to", str(tmp_path))
    assert said.code == 1 and "expired" in said.err
