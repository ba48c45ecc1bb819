"""A real site takes writes and uploads, is backed up, loses a table, files and at last its database, and is there again: on
PostgreSQL and on MariaDB."""

import json
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "demo")]

from local.stack import Stack  # noqa: E402
from platform_under_test import Platform  # noqa: E402
from running_site import RunningSite  # noqa: E402
from shop import DATABASE, MEDIA_BUCKET  # noqa: E402
from story_engines import OnMariaDb, OnPostgres  # noqa: E402


@pytest.fixture(scope="module")
def story_stack(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("story") / "stack")
    with stack.start(SFN_WAIT_SCALE="0.02"):
        stack.deploy()
        yield stack


@pytest.fixture(scope="module", params=[OnPostgres, OnMariaDb])
def shop(request, story_stack, tmp_path_factory):
    """The site, seeded; `platform` is where it is registered, by its `name` and, with nothing in it yet, as its `copy`."""
    folder = tmp_path_factory.mktemp("shop")
    stack, engine = story_stack, request.param
    with engine.server(folder) as server:
        made = engine.shop(server, stack, folder / "shop.env")
        made.name, made.copy, made.copy_bucket = engine.name, engine.copy, f"copy-of-{engine.name}"
        made.story = engine
        made.prepare()
        made.platform = Platform(stack, server)
        register(made, folder)
        yield made


def register(shop, folder):
    platform = shop.platform
    registration = shop.registration()
    database, media = registration["services"]
    # What backs up may not write; what restores may make databases.
    database["restore_secret_arn"] = platform.secret(f"holdfast/restore-{shop.name}", shop.story.restorer(shop.server))
    platform.bucket(shop.copy_bucket)
    documents = {
        shop.name: registration | {"restore_into": [shop.copy]},
        shop.copy: registration | {"services": [database | {"database": shop.copy}, media | {"bucket": shop.copy_bucket}]},
    }
    for name, document in documents.items():
        path = folder / f"{name}.json"
        path.write_text(json.dumps(document))
        platform.ask("apps", "put", name, "--file", str(path))


def environment(shop, **changed):
    return shop.stack.env | shop.settings | changed


class Visitors(threading.Thread):
    """Write reviews and have pictures uploaded until they are told to stop."""

    def __init__(self, site, s3):
        super().__init__(daemon=True)
        self.site, self.s3 = site, s3
        self.count = 0
        self.stop = threading.Event()
        self.failure = None

    def run(self):
        try:
            while not self.stop.is_set():
                self.count += 1
                self.site.review(1 + self.count % 100, f"Very good, number {self.count}")
                self.s3.put_object(Bucket=MEDIA_BUCKET, Key=f"media/visitors/{self.count}.txt", Body=b"%d" % self.count)
        except Exception as error:  # noqa: BLE001, told to the test below
            self.failure = error


def restore(shop, application, *options):
    return shop.platform.ask("restore", "create", application, *options)


def files(shop, bucket):
    """Each file of a bucket: its bytes' tag and the headers that a visitor's browser gets."""
    s3 = shop.platform.s3
    found = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for one in page.get("Contents", []):
            head = s3.head_object(Bucket=bucket, Key=one["Key"])
            body = s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read()
            kept = ("ContentType", "CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "Metadata")
            found[one["Key"]] = (body, {name: head.get(name) for name in kept})
    return found


def next_number(shop):
    """The number that the database's own trigger gives to an order, which is taken back."""
    new = "INSERT INTO shop_order (number, customer_id, state, note, placed_at) VALUES ('', 1, 'cart', '', now())"
    told = shop.server.run_sql(f"{new} RETURNING number", DATABASE).split()[0]
    shop.server.run_sql(f"DELETE FROM shop_order WHERE number = '{told}'", DATABASE)
    return int(told.removeprefix("B-"))


def test_the_site_is_there_again_whatever_it_lost(shop):
    server, platform = shop.server, shop.platform
    with RunningSite(environment(shop)) as site:
        # It is backed up while it is written to.
        visitors = Visitors(site, platform.s3)
        visitors.start()
        busy = platform.ask("backup", "create", shop.name)
        visitors.stop.set()
        visitors.join()
        assert busy["state"] == "succeeded" and visitors.failure is None and visitors.count > 1
        last_number = next_number(shop)
        before, before_files = site.all_of_it(), files(shop, MEDIA_BUCKET)
        assert len(before) > 60 and len(before_files) > 119
        backup = platform.ask("backup", "create", shop.name)["id"]
        assert platform.ask("backup", "verify", shop.name, backup)["verification"]["state"] == "passed"

        # A table is gone, and files are, or are others.
        server.run_sql("DROP TABLE shop_review CASCADE", DATABASE)
        for key in [key for key in before_files if "products/" in key][::2]:
            platform.s3.delete_object(Bucket=MEDIA_BUCKET, Key=key)
        platform.s3.put_object(Bucket=MEDIA_BUCKET, Key="media/exports/customers.csv.gz", Body=b"overwritten")
        assert site.status("/products/1/") == 500
        broken = files(shop, MEDIA_BUCKET)

        looked = restore(shop, shop.name, "--from", backup, "--overwrite", "--dry-run")
        assert looked["state"] == "succeeded" and files(shop, MEDIA_BUCKET) == broken
        refused = platform.run("restore", "create", shop.name, "--from", backup)
        assert refused.code != 0 and "overwrite" in refused.err

        restored = restore(shop, shop.name, "--from", backup, "--overwrite")
        assert restored["state"] == "succeeded", restored
        assert site.all_of_it() == before
        assert files(shop, MEDIA_BUCKET) == before_files

        # Undone, and it is as broken as it was.
        undone = platform.ask("restore", "undo", shop.name, restored["id"], "--yes")
        assert undone["state"] == "succeeded", undone
        assert site.status("/products/1/") == 500
        assert files(shop, MEDIA_BUCKET) == broken

        # Into another application, which serves the same.
        copied = restore(shop, shop.copy, "--from", backup, "--from-application", shop.name)
        assert copied["state"] == "succeeded", copied
        copy = environment(shop, SHOP_DATABASE_NAME=shop.copy, SHOP_MEDIA_BUCKET=shop.copy_bucket)
        shop.story.let_in(server, shop.copy)
        with RunningSite(copy) as other:
            assert other.all_of_it() == before

    # The whole database is gone.
    shop.story.drop(server)
    again = restore(shop, shop.name, "--from", backup, "--overwrite")
    assert again["state"] == "succeeded", again
    with RunningSite(environment(shop)) as site:
        assert site.all_of_it() == before
    assert files(shop, MEDIA_BUCKET) == before_files
    assert next_number(shop) == last_number + 1, "numbering goes on where it was"
    assert shop.story.left(server) == []


def test_another_application_needs_the_source_s_consent(shop, tmp_path):
    platform = shop.platform
    document, stranger = tmp_path / "stranger.json", f"stranger-to-{shop.name}"
    document.write_text(json.dumps(shop.registration()))
    platform.ask("apps", "put", stranger, "--file", str(document))
    refused = platform.run("restore", "create", stranger, "--from", "latest", "--from-application", shop.name)
    assert refused.code != 0 and "restore_into" in refused.err
