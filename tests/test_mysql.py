"""A MariaDB database from its registration to its restore by stock tools, on the deployed stack."""

import subprocess

import pytest

from local.mariadb import MariaDb

SHOP = """
CREATE TABLE product (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(100), picture LONGBLOB);
INSERT INTO product (name, picture) SELECT CONCAT('naïve 𝄞 ', seq), REPEAT(CHAR(seq % 256), 2000) FROM seq_1_to_5000;
CREATE TABLE sold (product INT NOT NULL, FOREIGN KEY (product) REFERENCES product (id));
CREATE TRIGGER told AFTER INSERT ON product FOR EACH ROW INSERT INTO sold VALUES (NEW.id);
CREATE VIEW best AS SELECT name FROM product WHERE id < 10;
"""


@pytest.fixture(scope="module")
def mariadb():
    with MariaDb() as server:
        server.create_database("boutique", SHOP)
        yield server


def service(platform, mariadb: MariaDb, secret: str, database: str, password: str) -> dict:
    return {
        "kind": "mysql",
        "name": "DEFAULT",
        "host": mariadb.host,
        "port": mariadb.port,
        "database": database,
        "secret_arn": platform.secret(f"holdfast/{secret}", {"username": mariadb.user, "password": password}),
        "tls": {"mode": "disable"},
    }


def test_what_was_backed_up_comes_back_by_stock_tools(platform, mariadb, tmp_path):
    platform.register("boutique", tmp_path, service(platform, mariadb, "boutique", "boutique", mariadb.password))
    backup = platform.ask("backup", "create", "boutique")
    assert backup["state"] == "succeeded"
    (artifact,) = backup["artifacts"]
    contents = artifact["contents"]
    assert (contents["format"], contents["database"], contents["outside_snapshot_count"]) == ("mysql_sql", "boutique", 0)
    assert platform.objects_of(backup) == {"backup.json", "README.txt", "DEFAULT/database.sql.zst", "DEFAULT/database.rows.jsonl"}

    report = platform.ask("backup", "download", "boutique", "latest", "--to", str(tmp_path))
    (file,) = [file["path"] for file in report["files"]]
    assert file.endswith("database.sql.zst")
    sql = subprocess.run(["zstd", "-dc", file], check=True, capture_output=True).stdout
    mariadb.create_database("boutique_again")
    mariadb.run_sql(sql, "boutique_again")
    sums = {}
    for database in ("boutique", "boutique_again"):
        sums[database] = mariadb.run_sql("CHECKSUM TABLE product, sold", database).replace(f"{database}.", "")
        assert mariadb.run_sql("SELECT COUNT(*) FROM best", database) == "9"
    assert sums["boutique"] == sums["boutique_again"]
    mariadb.run_sql("INSERT INTO product (name) VALUES ('new')", "boutique_again")
    new = mariadb.run_sql("SELECT id FROM product WHERE name = 'new'", "boutique_again")
    assert new and mariadb.run_sql("SELECT product FROM sold", "boutique_again") == new


def test_a_wrong_password_is_told_and_leaves_nothing(platform, mariadb, tmp_path):
    platform.register("bolted", tmp_path, service(platform, mariadb, "bolted", "boutique", "hunter2"))
    said = platform.run("backup", "create", "bolted")
    assert said.code != 0
    assert "hunter2" not in said.out + said.err
    (backup,) = platform.ask("backup", "list", "bolted")["items"]
    backup = platform.ended("bolted", backup["id"])
    assert (backup["state"], backup["failure"]["code"]) == ("failed", "wrong_password")
    assert platform.left_of("bolted") == []
    assert "hunter2" not in platform.logs()
