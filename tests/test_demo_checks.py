"""The demo's own checks: each must fail when what it checks is broken."""

import base64
import hashlib
import json
import shutil
import sys
import tarfile
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "demo")]

import restored_database  # noqa: E402
import stored_objects  # noqa: E402
import unpacked_media  # noqa: E402
from local.postgres import SUPERUSER, Postgres  # noqa: E402
from report import Failure  # noqa: E402
from stock_tools import output_of  # noqa: E402

FILES = {"a.txt": b"one", "folder/ä 🏔️.bin": b"\0" * 700, "empty": b""}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Postgres(tmp_path_factory.mktemp("pg") / "cluster") as running:
        yield running


@pytest.fixture
def restored(server, tmp_path):
    """The contents of a database, and a copy of it made by pg_dump and pg_restore."""
    server.drop_database("source")
    server.create_database("source")
    server.run_sql(
        "CREATE TABLE person (id int, name text); INSERT INTO person VALUES (1, 'Zoë'), (2, NULL);"
        "CREATE SCHEMA other; CREATE TABLE other.empty (x jsonb);"
        "CREATE MATERIALIZED VIEW names AS SELECT name FROM person;",
        "source",
    )
    dump = tmp_path / "database.dump"
    output_of(
        server.programs / "pg_dump", "-Fc", "-f", dump, "-d", server.dsn_for("source", SUPERUSER, server.password)
    )
    restored_database.restore(server, dump, "copy")
    return restored_database.contents(server, "source"), dump


def test_a_restored_database_is_the_same(server, restored):
    before, dump = restored
    assert {name: content.rows for name, content in before.items()} == {
        "public.person": 2, "public.names": 2, "other.empty": 0,
    }
    restored_database.compare(before, restored_database.contents(server, "copy"))
    assert "TABLE DATA public person" in restored_database.contents_list(server, dump)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ("DELETE FROM person WHERE id = 2", r"person had 2 rows and has 1"),
        ("UPDATE person SET name = 'Zoe' WHERE id = 1", r"rows of table public\.person differ"),
        ("DROP TABLE other.empty", r"other\.empty is missing"),
        ("CREATE TABLE extra ()", r"extra is in the restored database only"),
    ],
)
def test_a_damaged_restore_is_noticed(server, restored, damage, complaint):
    before, _ = restored
    with psycopg.connect(server.dsn_for("copy", SUPERUSER, server.password)) as session:
        session.execute(damage)
    with pytest.raises(Failure, match=complaint):
        restored_database.compare(before, restored_database.contents(server, "copy"))


def test_a_truncated_dump_is_noticed(server, restored):
    _, dump = restored
    dump.write_bytes(dump.read_bytes()[:-40])
    with pytest.raises(Failure, match="pg_restore"):
        restored_database.restore(server, dump, "copy")


def test_nothing_to_compare_is_no_success():
    with pytest.raises(Failure, match="no tables"):
        restored_database.compare({}, {})


@pytest.fixture
def unpacked(tmp_path):
    """A media archive of FILES, unpacked."""
    made = tmp_path / "made"
    lines = [{"type": "header", "files": len(FILES)}]
    for name, content in FILES.items():
        path = made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        lines.append({"type": "file", "key": name, "member": name, "size": len(content), "sha256": digest})
    manifest = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (made / unpacked_media.MANIFEST).write_text(manifest, encoding="utf-8")
    archive = tmp_path / "media.tar"
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for name in [*FILES, unpacked_media.MANIFEST]:
            tar.add(made / name, name)
    shutil.rmtree(made)
    folder = tmp_path / "unpacked"
    folder.mkdir()
    assert unpacked_media.contents_list(archive).splitlines() == [*FILES, unpacked_media.MANIFEST]
    unpacked_media.unpack(archive, folder)
    return folder


def test_an_unpacked_archive_is_the_same(unpacked):
    assert unpacked_media.check(unpacked, set(FILES)) == len(FILES)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda folder: (folder / "a.txt").write_bytes(b"two"), "SHA-256 of a.txt differs"),
        (lambda folder: (folder / "a.txt").write_bytes(b"longer"), "a.txt has 6 bytes"),
        (lambda folder: (folder / "empty").unlink(), "empty is in MANIFEST.jsonl and not in the archive"),
        (lambda folder: (folder / "extra").touch(), "'extra' is in the archive and not in MANIFEST.jsonl"),
        (lambda folder: (folder / "MANIFEST.jsonl").unlink(), "no MANIFEST.jsonl"),
        (lambda folder: (folder / "MANIFEST.jsonl").write_text('{"type":"header","files":0}\n'), "names no files"),
        (lambda folder: (folder / "MANIFEST.jsonl").write_text('{"type":"header","files":3}\n'), "counts 3 files"),
    ],
)
def test_a_damaged_archive_is_noticed(unpacked, damage, complaint):
    damage(unpacked)
    with pytest.raises(Failure, match=complaint):
        unpacked_media.check(unpacked, set(FILES))


def test_a_file_that_was_left_out_is_noticed(unpacked):
    with pytest.raises(Failure, match="'later' is in the bucket"):
        unpacked_media.check(unpacked, {*FILES, "later"})


CONTENT = b"123456789"
# S3's documented check value of CRC64NVME for these nine bytes: 0xAE8B14860A799888.
CHECKSUM = base64.b64encode(bytes.fromhex("ae8b14860a799888")).decode()
HEAD = {
    "ContentLength": len(CONTENT), "StorageClass": "STANDARD_IA", "ServerSideEncryption": "aws:kms",
    "SSEKMSKeyId": "arn:key", "BucketKeyEnabled": True, "ChecksumCRC64NVME": CHECKSUM, "ChecksumType": "FULL_OBJECT",
}
BACKUP = {
    "artifacts": [{
        "service": "MEDIA", "milliseconds": 1500,
        "object": {
            "key": "applications/shop/1/MEDIA/media.tar", "size": len(CONTENT), "crc64nvme": CHECKSUM,
            "storage_class": "STANDARD_IA",
            "encryption": {"algorithm": "aws:kms", "key_arn": "arn:key", "bucket_key": True},
        },
    }]
}


class Head:
    """An S3 that answers each HeadObject with `answer`."""

    def __init__(self, answer):
        self.answer = answer

    def head_object(self, **_):
        return self.answer


def test_an_artifact_is_as_recorded(tmp_path):
    (stored,) = stored_objects.read_back(Head(HEAD), "backups", BACKUP)
    assert (stored.file_name, stored.size, stored.seconds) == ("media.tar", 9, 1.5)
    download = tmp_path / "media.tar"
    download.write_bytes(CONTENT)
    stored_objects.check_download(download, stored)
    download.write_bytes(b"123456780")
    with pytest.raises(Failure, match="checksum of"):
        stored_objects.check_download(download, stored)
    download.write_bytes(CONTENT[:-1])
    with pytest.raises(Failure, match="8 bytes"):
        stored_objects.check_download(download, stored)


@pytest.mark.parametrize("header", HEAD)
def test_an_artifact_without_one_of_its_properties_is_noticed(header):
    answer = {name: value for name, value in HEAD.items() if name != header} | (
        {"ContentLength": 8} if header == "ContentLength" else {}
    )
    with pytest.raises(Failure, match="media.tar: expected"):
        stored_objects.read_back(Head(answer), "backups", BACKUP)
