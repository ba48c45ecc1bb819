"""Restores on the deployed stack: a database and media come back, what was there comes back again, and nothing changes that
nobody asked to change."""

import json
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "demo"))

import restored_database  # noqa: E402

FILES = {
    "media/a.txt": b"hello",
    "media/empty.txt": b"",
    "media/folder/": b"",
    "media/folder/../up.txt": b"not a path",
    "media/photos/ü 名.jpg": bytes(range(256)) * 5_000,
    "media/photos/large.bin": bytes(range(256)) * 48_000,
}
SQL = """
CREATE TABLE customers (id bigserial PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE orders (id bigserial PRIMARY KEY, customer bigint NOT NULL REFERENCES customers, data jsonb);
INSERT INTO customers (name) SELECT 'customer ' || n FROM generate_series(1, 200) n;
INSERT INTO orders (customer, data) SELECT 1 + n % 200, jsonb_build_object('n', n) FROM generate_series(1, 5000) n;
CREATE VIEW recent AS SELECT * FROM orders WHERE id > 4900;
CREATE MATERIALIZED VIEW sums AS SELECT customer, count(*) FROM orders GROUP BY customer;
"""
CHANGES = """
DROP TABLE orders CASCADE;
UPDATE customers SET name = name || '!' WHERE id % 2 = 0;
CREATE TABLE later (id int);
INSERT INTO later VALUES (1), (2);
"""


class Shop:
    """An application with a database and media, and a backup of them."""

    def __init__(self, platform, name, folder, sql=SQL, files=FILES, **registration):
        self.platform, self.name, self.bucket = platform, name, f"{name}-media"
        platform.bucket(self.bucket, files)
        if "media/a.txt" in files:
            platform.s3.put_object(
                Bucket=self.bucket, Key="media/a.txt", Body=files["media/a.txt"], ContentType="text/plain; charset=utf-8",
                CacheControl="max-age=60", Metadata={"owner": "anna"}, Tagging="kind=note",
            )
        self.services = [platform.database(name, sql), platform.storage(self.bucket, "media/")]
        # A restore makes a database beside the one that it replaces.
        platform.server.run_sql(f'ALTER ROLE "{name}" CREATEDB')
        self.folder = folder
        self.register(**registration)

    def register(self, **registration):
        self.platform.register(self.name, self.folder, *self.services, **registration)

    def backup(self):
        return self.platform.ask("backup", "create", self.name)

    def restore(self, *options):
        """What `holdfast restore create` says."""
        return self.platform.run("restore", "create", self.name, *options)

    def change(self):
        self.platform.server.run_sql(CHANGES, self.name)
        s3 = self.platform.s3
        s3.delete_object(Bucket=self.bucket, Key="media/photos/large.bin")
        s3.delete_object(Bucket=self.bucket, Key="media/empty.txt")
        s3.put_object(Bucket=self.bucket, Key="media/a.txt", Body=b"changed", ContentType="text/html")
        s3.put_object(Bucket=self.bucket, Key="media/new.txt", Body=b"new")

    def rows(self):
        return restored_database.contents(self.platform.server, self.name)

    def files(self):
        """Every object of the bucket: its content, its headers, its metadata and its tags."""
        s3, found = self.platform.s3, {}
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket):
            for one in page.get("Contents", []):
                where = {"Bucket": self.bucket, "Key": one["Key"]}
                got = s3.get_object(**where)
                tags = {tag["Key"]: tag["Value"] for tag in s3.get_object_tagging(**where)["TagSet"]}
                headers = got["ContentType"], got.get("CacheControl"), got["Metadata"]
                found[one["Key"]] = (got["Body"].read(), *headers, tags)
        return found

    def state(self):
        return self.rows(), self.files()

    def left(self):
        """Databases and uploads that a restore has left."""
        databases = self.platform.server.run_sql("SELECT datname FROM pg_database").split()
        uploads = self.platform.s3.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        return [name for name in databases if self.name in name and name != self.name] + uploads

    def backups(self):
        return self.platform.ask("backup", "list", self.name)["items"]


@pytest.fixture(scope="module")
def shop(platform, tmp_path_factory):
    """One that was backed up and has changed since: with the backup, and what it was like then and later."""
    shop = Shop(platform, "bazaar", tmp_path_factory.mktemp("bazaar"))
    shop.before = shop.state()
    shop.backed_up = shop.backup()
    shop.change()
    shop.changed = shop.state()
    assert shop.before != shop.changed
    return shop


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(shop):
    said = shop.restore("--from", "latest", "--overwrite", "--dry-run")
    assert said.code == 0, said.err
    found = {one["service"]: one for one in said.json["preflight"]}
    assert list(found) == ["DEFAULT", "MEDIA"] and said.json["state"] == "succeeded"
    assert found["DEFAULT"]["is_occupied"] and found["DEFAULT"]["steps"] and "bazaar" in found["DEFAULT"]["target"]
    assert found["MEDIA"]["changes"] == {"added": 2, "replaced": 1, "unchanged": 3, "removed": 0}
    assert said.json["safety_backup"] is None and len(shop.backups()) == 1
    assert shop.state() == shop.changed


def test_what_is_there_is_not_replaced_unasked(shop):
    for options in (["--dry-run"], []):
        said = shop.restore("--from", shop.backed_up["id"], *options)
        assert said.code == 1, said.out
        refused = {one["service"] for one in said.json["preflight"] if one["refusals"]}
        assert refused == {"DEFAULT", "MEDIA"}
        assert all(refusal["fix"] for one in said.json["preflight"] for refusal in one["refusals"])
    assert said.json["state"] == "failed" and said.json["failure"]["code"] == "restore_refused"
    assert len(shop.backups()) == 1, "nothing was backed up either"
    assert shop.state() == shop.changed


def test_a_restore_brings_everything_back_and_its_undo_what_was_there(shop):
    platform = shop.platform
    said = shop.restore("--from", shop.backed_up["id"], "--overwrite")
    assert said.code == 0, said.err
    restore = said.json
    assert "is backed up first" in said.err and "DEFAULT: done" in said.err, said.err
    rows, files = shop.state()
    assert rows == shop.before[0]
    # What has come since stays, unless it is asked for otherwise.
    assert files == shop.before[1] | {"media/new.txt": shop.changed[1]["media/new.txt"]}
    restored = {run["service"]: run["restored"] for run in restore["runs"]}
    assert restored["DEFAULT"]["rows_compared"] and restored["DEFAULT"]["rows"] >= 5200
    assert restored["MEDIA"]["changes"] == {"added": 2, "replaced": 1, "unchanged": 3, "removed": 0}
    # The application goes on with it.
    platform.server.run_sql("INSERT INTO customers (name) VALUES ('new'); DELETE FROM customers WHERE name = 'new'", shop.name)

    safety = platform.backup(shop.name, restore["safety_backup"])
    assert (safety["state"], safety["trigger"]) == ("succeeded", "on_demand") and restore["id"] in safety["note"]

    undone = platform.run("restore", "undo", shop.name, restore["id"])
    assert undone.code == 0, undone.err
    assert (undone.json["undoes"], undone.json["from"]["backup"]) == (restore["id"], safety["id"])
    assert shop.state() == shop.changed
    assert shop.left() == []

    # An undo can be undone.
    redone = platform.run("restore", "undo", shop.name, undone.json["id"])
    assert redone.code == 0, redone.err
    assert shop.state() == (rows, files)
    events = platform.ask("backup", "events", shop.name)["items"]
    done = [(event["action"], event["restore"]) for event in events if event.get("restore")]
    for one in (restore, undone.json, redone.json):
        assert ("request", one["id"]) in done and ("succeed", one["id"]) in done


def test_they_are_listed(shop):
    listed = shop.platform.ask("restore", "list", shop.name)["items"]
    assert {one["application"] for one in listed} == {shop.name}
    failed = shop.platform.ask("restore", "list", shop.name, "--state", "failed")["items"]
    assert failed and {one["state"] for one in failed} == {"failed"}
    assert shop.platform.ask("restore", "show", shop.name, failed[0]["id"])["id"] == failed[0]["id"]


def test_one_folder_and_a_mirror_and_another_prefix(platform, tmp_path):
    shop = Shop(platform, "arcade", tmp_path)
    backup = shop.backup()
    before = shop.files()
    shop.change()
    changed, rows = shop.files(), shop.rows()

    said = shop.restore("--from", backup["id"], "--service", "MEDIA", "--file", "photos/")
    assert said.code == 0, said.err
    assert shop.files() == changed | {"media/photos/large.bin": before["media/photos/large.bin"]}

    said = shop.restore("--from", backup["id"], "--service", "MEDIA", "--into-prefix", "restored/")
    assert said.code != 0 and "media/restored/" in said.err, "others may keep files there"
    said = shop.restore("--from", backup["id"], "--service", "MEDIA", "--into-prefix", "media/restored/")
    assert said.code == 0, said.err
    beside = {key: one for key, one in shop.files().items() if key.startswith("media/restored/")}
    assert beside == {key.replace("media/", "media/restored/", 1): one for key, one in before.items()}

    # What is written in the second in which a restore is asked for is not removed by it.
    time.sleep(1.1)

    said = shop.restore("--from", backup["id"], "--service", "MEDIA", "--mirror", "--overwrite")
    assert said.code == 0, said.err
    assert {key: one for key, one in shop.files().items() if key.startswith("media/")} == before
    assert shop.rows() == rows, "the database was not asked for"
    assert shop.left() == []


def test_into_another_application_that_was_agreed_to(platform, tmp_path):
    shop = Shop(platform, "emporium", tmp_path)
    backup = shop.backup()
    other = Shop(platform, "branch", tmp_path, sql="", files={})
    wanted = ["--from", "latest", "--from-application", shop.name]
    refused = other.restore(*wanted)
    assert refused.code == 1 and "restore_into" in refused.err, refused.err

    shop.register(restore_into=[other.name])
    said = other.restore(*wanted)
    assert said.code == 0, said.err
    assert said.json["from"] == {"application": shop.name, "backup": backup["id"]}
    assert said.json["safety_backup"] is None, "there was nothing to back up"
    assert other.rows() == shop.rows()
    assert other.files() == shop.files()
    trail = platform.ask("backup", "events", shop.name)["items"]
    assert any(event.get("restore") == said.json["id"] for event in trail), "its owner sees who took it"


def test_credentials_that_are_wrong_are_named_and_nothing_is_changed(platform, tmp_path):
    shop = Shop(platform, "kiosk", tmp_path)
    backup = shop.backup()
    wrong = platform.secret("holdfast/kiosk-restores", {"username": "kiosk", "password": "wrong"})
    shop.services[0]["restore_secret_arn"] = wrong
    shop.register()
    before = shop.state()
    said = shop.restore("--from", backup["id"], "--overwrite")
    assert said.code == 1 and "password" in said.err, said.err
    assert said.json["state"] == "failed" and "DEFAULT" in json.dumps(said.json["failure"] or said.json["preflight"])
    assert shop.state() == before and shop.left() == []


def test_a_cancelled_restore_ends(platform, tmp_path):
    shop = Shop(platform, "stall", tmp_path)
    backup = shop.backup()
    started = platform.ask("restore", "create", shop.name, "--from", backup["id"], "--overwrite", "--detach")
    platform.ask("restore", "cancel", shop.name, started["id"])
    platform.run("restore", "follow", shop.name, started["id"])
    ended = platform.ask("restore", "show", shop.name, started["id"])
    assert ended["state"] == "cancelled" and ended["finished_at"]
    assert shop.left() == []
    again = shop.restore("--from", backup["id"], "--overwrite")
    assert again.code == 0, again.err


def test_a_backup_is_tried_beside_what_is_there(platform, tmp_path):
    shop = Shop(platform, "trial", tmp_path)
    backed_up = shop.backup()
    shop.change()
    changed = shop.state()

    verified = platform.ask("backup", "verify", "trial", "latest", "--restore", "--checksums")["verification"]
    assert (verified["state"], verified["level"]) == ("passed", 3), verified
    of = {one["service"]: one["rehearsed"] for one in verified["artifacts"]}
    # A materialized view has rows as well, which are made anew.
    assert of == {"DEFAULT": {"tables": 2, "rows": 5200, "values_compared": 2}, "MEDIA": {"files": len(FILES)}}
    assert verified["rehearsal"]["seconds"] >= 0
    restore = platform.ask("restore", "show", "trial", verified["rehearsal"]["restore"])
    assert restore["rehearsal"] and restore["checksums"] and restore["state"] == "succeeded"
    assert "undo" not in restore["links"]
    assert restore["from"]["backup"] == backed_up["id"] and restore["safety_backup"] is None
    undone = platform.run("restore", "undo", "trial", restore["id"], "--yes")
    assert undone.code != 0 and "has changed nothing" in undone.err
    assert shop.state() == changed and shop.left() == [] and len(shop.backups()) == 1

    # What keeps it from being restored says nothing about it.
    platform.server.run_sql('ALTER ROLE "trial" NOCREATEDB')
    refused = platform.run("backup", "verify", "trial", "latest", "--restore")
    assert refused.code != 0 and "CREATEDB" in refused.err and "says nothing about it" in refused.err
    assert shop.state() == changed and shop.left() == []
    # It counts as before.
    assert platform.ask("backup", "show", "trial", "latest")["verification"]["state"] == "failed"

    # A row that goes missing when it is restored.
    platform.server.run_sql('ALTER ROLE "trial" CREATEDB')
    platform.server.run_sql(
        """CREATE FUNCTION purge() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
             IF current_database() LIKE 'holdfast%' THEN DELETE FROM public.later WHERE id = 1; END IF; RETURN 1; END $$;
           CREATE MATERIALIZED VIEW purged AS SELECT purge() AS n;
           ALTER TABLE later OWNER TO "trial"; ALTER FUNCTION purge() OWNER TO "trial";
           ALTER MATERIALIZED VIEW purged OWNER TO "trial";""",
        "trial",
    )
    purging, changed = shop.backup(), shop.state()
    damaged = platform.run("backup", "verify", "trial", "latest", "--restore")
    assert damaged.code != 0 and "later" in damaged.err and "has 1 rows, and had 2" in damaged.err
    assert shop.state() == changed and shop.left() == []
    assert platform.ask("backup", "show", "trial", "latest")["id"] == backed_up["id"] != purging["id"]

    # A value that becomes another one: as many rows are there.
    platform.server.run_sql(
        """CREATE OR REPLACE FUNCTION purge() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
             IF current_database() LIKE 'holdfast%' THEN UPDATE public.later SET id = 3 WHERE id = 1; END IF; RETURN 1; END $$;""",
        "trial",
    )
    shop.backup()
    changed = shop.state()
    counted = platform.ask("backup", "verify", "trial", "latest", "--restore")["verification"]
    assert (counted["state"], counted["level"]) == ("passed", 2), counted
    damaged = platform.run("backup", "verify", "trial", "latest", "--restore", "--checksums")
    assert damaged.code != 0 and 'later" has other values' in damaged.err, damaged.err
    assert shop.state() == changed and shop.left() == []
