"""The demo's application is real: it seeds, and serves what it has seeded."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "demo")]

from local.postgres import Postgres  # noqa: E402
from local.machine import free_port  # noqa: E402
from local.stack import Stack  # noqa: E402
from shop import DATABASE, MEDIA_BUCKET, SITE, Shop  # noqa: E402

MIB = 1 << 20


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    with Stack(folder / "stack") as stack, Postgres(folder / "pg", tls=True) as server:
        made = Shop(server, stack, folder / "shop.env")
        made.said = made.prepare()
        yield made


@pytest.fixture(scope="module")
def objects(shop):
    s3 = shop.stack.client("s3")
    return {key: s3.head_object(Bucket=MEDIA_BUCKET, Key=f"media/{key}") for key in shop.media_keys()}


def test_it_has_a_few_thousand_rows_and_some_120_files(shop):
    assert "5,114 rows; 119 files, 119 of them uploaded now" in shop.said


def test_a_second_seeding_changes_nothing(shop):
    assert "5,114 rows; 119 files, 0 of them uploaded now" in shop.prepare()


def test_a_file_that_went_missing_is_brought_back(shop):
    shop.stack.client("s3").delete_object(Bucket=MEDIA_BUCKET, Key="media/sheets/0007.txt")
    assert "119 files, 1 of them uploaded now" in shop.prepare()


def test_its_files_are_of_every_kind(objects):
    sizes = [head["ContentLength"] for head in objects.values()]
    assert min(sizes) == 0
    assert 12 * MIB <= max(sizes) < 13 * MIB
    assert any(len(key.encode()) > 255 for key in objects)
    assert any("🏔" in key for key in objects)


def test_its_files_have_the_headers_of_a_web_shop(objects):
    picture = next(head for key, head in objects.items() if key.startswith("products/") and key.endswith(".webp"))
    assert picture["ContentType"] == "image/webp"
    assert "immutable" in picture["CacheControl"]
    assert picture["Metadata"] == {"kind": "picture", "source": "studio"}
    assert objects["sheets/0007.txt"]["ContentDisposition"] == 'attachment; filename="0007.txt"'
    assert objects["exports/customers.csv.gz"]["ContentEncoding"] == "gzip"


def test_what_only_the_database_does_is_done(shop):
    numbers = shop.server.run_sql("SELECT count(DISTINCT number), min(length(number)) FROM shop_order", DATABASE)
    assert numbers == "950|6"
    assert shop.server.run_sql("SELECT count(*) > 100 FROM shop_rating", DATABASE) == "t"


def test_it_serves_its_pages_and_pictures(shop):
    address = f"127.0.0.1:{free_port()}"
    environment = shop.stack.env | shop.settings
    process = subprocess.Popen(
        [sys.executable, "manage.py", "runserver", "--noreload", address],
        cwd=SITE, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        rows = json.loads(get(f"http://{address}/healthz", patience=20))["rows"]
        assert rows == {"customer": 420, "product": 110, "order": 950, "review": 800}
        assert "Bergladen" in get(f"http://{address}/").decode()
        products = json.loads(get(f"http://{address}/products.json"))["products"]
        picture = next(product["image"] for product in products if product["image"])
        assert get(picture)[:3] in (b"\xff\xd8\xff", b"\x89PN", b"RIF", b"GIF")
    finally:
        process.terminate()
        process.wait()


def get(url: str, patience: float = 0) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + patience
    while True:
        try:
            with opener.open(url, timeout=20) as answer:
                return answer.read()
        except urllib.error.HTTPError:
            raise
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
