"""What README.txt says, followed to the letter: each command of a stored backup's own README, in its order, in one folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from local.mariadb import MariaDb

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "bench"))

from s3_endpoint import AWS, install_awscli  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
POSTGRES = """
CREATE TABLE orders (id bigserial PRIMARY KEY, note text);
INSERT INTO orders (note) SELECT 'order ' || n FROM generate_series(1, 3000) n;
CREATE TABLE "Odd ""name'" (a int);
INSERT INTO "Odd ""name'" VALUES (1), (NULL);
CREATE TABLE nothing (a int);
CREATE VIEW recent AS SELECT * FROM orders WHERE id > 2900;
"""
MARIADB = """
CREATE TABLE product (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(100), picture LONGBLOB);
INSERT INTO product (name, picture) SELECT CONCAT('naïve 𝄞 ', seq), REPEAT(CHAR(seq % 256), 2000) FROM seq_1_to_500;
CREATE TABLE sold (product INT NOT NULL, FOREIGN KEY (product) REFERENCES product (id));
CREATE TRIGGER told AFTER INSERT ON product FOR EACH ROW INSERT INTO sold VALUES (NEW.id);
CREATE VIEW best AS SELECT name FROM product WHERE id < 10;
CREATE PROCEDURE older() SELECT 'than the character set of its database';
ALTER DATABASE CHARACTER SET latin1;
"""
FILES = {
    "media/a.txt": b"hello",
    "media/empty.txt": b"",
    "media/folder/": b"",
    "media/folder/b c+&?é.bin": os.urandom(1000),
    "media/folder/../up.txt": b"not a path",
    "media//double.txt": b"an empty segment",
    # Larger than what is read whole: it has another kind of checksum.
    "media/large.bin": os.urandom(11 * 1024 * 1024),
}
HEADERS = {"ContentType": "text/x-test; charset=utf-8", "CacheControl": "max-age=60", "Metadata": {"owner": "anna"}}


@pytest.fixture(scope="module")
def mariadb():
    with MariaDb() as server:
        server.create_database("many", MARIADB)
        yield server


@pytest.fixture(scope="module")
def backup(platform, mariadb, tmp_path_factory):
    """A backup with one service of each kind."""
    platform.bucket("many-media", FILES)
    platform.s3.put_object(Bucket="many-media", Key="media/a.txt", Body=FILES["media/a.txt"], **HEADERS)
    platform.s3.put_object_tagging(
        Bucket="many-media", Key="media/a.txt", Tagging={"TagSet": [{"Key": "kind", "Value": "a & b"}]}
    )
    secret = platform.secret("holdfast/many-mariadb", {"username": mariadb.user, "password": mariadb.password})
    shop = {
        "kind": "mysql", "name": "SHOP", "host": mariadb.host, "port": mariadb.port, "database": "many",
        "secret_arn": secret, "tls": {"mode": "disable"},
    }
    folder = tmp_path_factory.mktemp("many")
    platform.register("many", folder, platform.database("many", POSTGRES), shop, platform.storage("many-media", "media/"))
    backup = platform.ask("backup", "create", "many")
    assert backup["state"] == "succeeded", backup["failure"]
    return backup


@pytest.fixture(scope="module")
def readme(platform, backup):
    key = f"applications/many/{backup['id']}/README.txt"
    stored = platform.s3.get_object(Bucket=platform.stack.bucket, Key=key)
    assert stored["ContentType"] == "text/plain; charset=utf-8"
    return stored["Body"].read().decode()


@pytest.fixture(scope="module")
def shell(platform, mariadb, tmp_path_factory):
    """Runs commands in one folder after the other's, with the settings of each tool where its manual says they are."""
    install_awscli()
    home = tmp_path_factory.mktemp("home")
    (home / ".my.cnf").write_text(
        f"[client]\nhost={mariadb.host}\nport={mariadb.port}\nprotocol=TCP\nuser={mariadb.user}\npassword={mariadb.password}\n"
    )
    path = [ROOT / ".tools/venv/bin", AWS.parent, os.environ["PATH"]]
    environment = {
        **platform.stack.env, "HOME": str(home), "PATH": ":".join(map(str, path)), "PGHOST": platform.server.host,
        "PGPORT": str(platform.server.port), "PGUSER": "postgres", "PGPASSWORD": platform.server.password, "LC_ALL": "C.UTF-8",
    }

    def run(commands: str, folder: Path) -> str:
        ran = subprocess.run(
            ["bash", "-eu"], input=commands, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, f"{commands}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    return run


def commands(readme: str, section: str, **filled_in: str) -> str:
    """The blocks of commands below a heading, with what is to be filled in."""
    (text,) = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", readme, re.MULTILINE | re.DOTALL)
    found = "".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    for name, value in filled_in.items():
        assert re.search(rf"\b{name}\b", found), f"{name} is not in the commands of {section}"
        found = re.sub(rf"\b{name}\b", lambda _, value=value: value, found)
    return found


@pytest.fixture(scope="module")
def fetched(platform, readme, shell, tmp_path_factory):
    """The folder into which the README says to fetch the backup."""
    folder = tmp_path_factory.mktemp("fetched")
    shell(commands(readme, "Fetch it", BUCKET=platform.stack.bucket), folder)
    checked = shell(commands(readme, "Check that it is whole"), folder / "backup").splitlines()
    assert checked == ["ok DEFAULT/database.dump", "ok SHOP/database.sql.zst", "ok MEDIA/media.tar"]
    return folder / "backup"


def test_it_names_what_there_is(platform, backup, readme):
    assert readme.startswith(f"Backup {backup['id']} of many\n")
    for artifact in backup["artifacts"]:
        stored = artifact["object"]
        name = "/".join(stored["key"].split("/")[3:])
        (line,) = [line for line in readme.splitlines() if line.startswith(f"- {name}: ")]
        assert line.endswith(f"; {stored['size']} bytes, CRC64NVME {stored['crc64nvme']}"), line
    assert (ROOT / "RESTORING.md").read_text().splitlines()[0] in readme


def test_a_damaged_byte_is_found(readme, shell, fetched, tmp_path):
    shell(f"cp -r '{fetched}/.' .", tmp_path)
    dump = tmp_path / "DEFAULT/database.dump"
    damaged = bytearray(dump.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    dump.write_bytes(damaged)
    said = shell(commands(readme, "Check that it is whole"), tmp_path)
    assert "DIFFERENT DEFAULT/database.dump" in said and "ok MEDIA/media.tar" in said
    # As slowly as it goes without any library.
    slow = "import sys; sys.modules['awscrt.checksums'] = None; import crc64nvme; print('%x' % crc64nvme.added(b'123456789'))"
    assert shell(f'python3 -c "{slow}"', tmp_path).strip() == "ae8b14860a799888"


def test_a_postgresql_database(platform, readme, shell, fetched):
    said = shell(commands(readme, "PostgreSQL", SERVICE="DEFAULT", NEW_DATABASE="many_again"), fetched).splitlines()
    counted = {'t|3000|"public"."orders"', 't|2|"public"."Odd ""name\'"', 't|0|"public"."nothing"'}
    assert set(said) == counted
    assert platform.server.run_sql("SELECT count(*) FROM recent", "many_again") == "100"
    platform.server.run_sql("DELETE FROM orders WHERE id = 1", "many_again")
    script = commands(readme, "PostgreSQL", SERVICE="DEFAULT", NEW_DATABASE="many_again")
    assert 'f|2999|"public"."orders"' in shell(script.splitlines()[-1], fetched).splitlines()


def test_a_mariadb_database(mariadb, readme, shell, fetched):
    mariadb.run_sql("ALTER DATABASE many CHARACTER SET ucs2")
    said = shell(commands(readme, "MySQL and MariaDB", SERVICE="SHOP", NEW_DATABASE="many_again"), fetched)
    assert said.startswith("-- Dump completed")
    sums = [
        mariadb.run_sql("CHECKSUM TABLE product, sold", database).replace(f"{database}.", "") for database in ("many", "many_again")
    ]
    assert sums[0] == sums[1]
    assert mariadb.run_sql("SELECT COUNT(*) FROM best", "many_again") == "9"
    mariadb.run_sql("INSERT INTO product (name) VALUES ('new')", "many_again")
    assert mariadb.run_sql("SELECT COUNT(*) FROM sold", "many_again") == "1"
    assert mariadb.run_sql("CALL older()", "many_again").startswith("than")
    charset = "SELECT default_character_set_name FROM information_schema.schemata WHERE schema_name = '{}'"
    assert [mariadb.run_sql(charset.format(name)) for name in ("many", "many_again")] == ["ucs2", "latin1"]


def test_files(platform, readme, shell, fetched):
    platform.bucket("many-again")
    filled_in = {"SERVICE": "MEDIA", "NEW_BUCKET": "many-again", "NEW_PREFIX": "back/", "BUCKET": platform.stack.bucket}
    said = shell(commands(readme, "Files", **filled_in, KEY="folder/../up.txt"), fetched).splitlines()
    assert sum(line.startswith("ok files/") for line in said) == len(FILES) - 1
    assert not [line for line in said if line.startswith(("DIFFERENT", "SKIPPED"))]
    assert f"{len(FILES)} objects put" in said
    assert (fetched / "one-file").read_bytes() == FILES["media/folder/../up.txt"]
    assert (fetched / "files/a.txt").read_bytes() == b"hello"

    back = {
        one["Key"].removeprefix("back/"): platform.s3.get_object(Bucket="many-again", Key=one["Key"])
        for one in platform.s3.list_objects_v2(Bucket="many-again")["Contents"]
    }
    assert {f"media/{key}": found["Body"].read() for key, found in back.items()} == FILES
    assert {name: back["a.txt"][name] for name in HEADERS} == HEADERS
    tags = platform.s3.get_object_tagging(Bucket="many-again", Key="back/a.txt")["TagSet"]
    assert tags == [{"Key": "kind", "Value": "a & b"}]
