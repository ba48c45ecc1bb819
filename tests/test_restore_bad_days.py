"""What else goes wrong around a restore, on the deployed stack: it ends clearly, and leaves nothing."""

import json

import psycopg
import pytest
from small_disk import SmallDisk
from test_bad_days import sessions, wait_for
from test_restores import Shop


def test_sessions_on_the_database_are_ended(platform, tmp_path):
    """A session in the middle of a transaction, of the role that restores."""
    shop = Shop(platform, "crowded", tmp_path)
    before = shop.state()
    backup = shop.backup()
    shop.change()
    password = platform.server.create_role(shop.name)
    secret = {"SecretId": shop.services[0]["secret_arn"], "SecretString": json.dumps({"username": shop.name, "password": password})}
    platform.stack.client("secretsmanager").put_secret_value(**secret)
    with psycopg.connect(platform.server.dsn_for(shop.name, shop.name, password)) as visitor:
        visitor.execute("SELECT count(*) FROM customers")
        said = shop.restore("--from", backup["id"], "--overwrite", "--service", "DEFAULT")
        assert said.code == 0, said.err
        with pytest.raises(psycopg.OperationalError):
            visitor.execute("SELECT 1")
        visitor.close()
    assert shop.rows() == before[0]
    assert shop.left() == []


def test_a_backup_that_is_deleted_before_anything_is_changed(platform, tmp_path):
    shop = Shop(platform, "fickle", tmp_path)
    backup = shop.backup()
    shop.change()
    # A session of the role that restores: one that it may not end would be refused.
    platform.server.run_sql(f'GRANT ALL ON customers TO "{shop.name}"', shop.name)
    changed = shop.state()
    secret = platform.stack.client("secretsmanager").get_secret_value(SecretId=shop.services[0]["secret_arn"])
    password = json.loads(secret["SecretString"])["password"]
    with psycopg.connect(platform.server.dsn_for(shop.name, shop.name, password)) as holder:
        # The safety backup waits for it.
        holder.execute("LOCK TABLE customers IN ACCESS EXCLUSIVE MODE")
        started = platform.ask("restore", "create", shop.name, "--from", backup["id"], "--overwrite", "--detach")
        wait_for(lambda: sessions(platform, shop.name), "the safety backup")
        deleted = platform.run("backup", "delete", shop.name, backup["id"], "--yes")
        assert deleted.code == 0, deleted.err
        wait_for(lambda: platform.ask("backup", "show", shop.name, backup["id"])["state"] == "expired", "the deletion")
    platform.run("restore", "follow", shop.name, started["id"])
    ended = platform.ask("restore", "show", shop.name, started["id"])
    assert (ended["state"], ended["failure"]["code"]) == ("failed", "backup_gone")
    said = ended["failure"]["message"]
    # The restore may look while the deletion is still on its way.
    assert "Nothing was changed" in said and ("can be brought back" in said or "bring it back once that is done" in said), said
    assert shop.state() == changed
    assert shop.left() == []


@pytest.fixture
def temporary_folder(platform):
    """The folder for temporary files of the function that restores: a disk that is full."""
    functions = platform.stack.client("lambda")
    names = [one["FunctionName"] for one in functions.list_functions()["Functions"]]
    name = next(name for name in names if "RestoreFunction" in name)
    variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]

    def set_variables(**more):
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables | more})

    with SmallDisk(1) as disk:
        disk.fill()
        set_variables(TMPDIR=str(disk.folder))
        yield disk
        set_variables()


def test_a_full_folder_for_temporary_files(platform, tmp_path, temporary_folder):
    shop = Shop(platform, "stuffed", tmp_path)
    before = shop.state()
    backup = shop.backup()
    shop.change()
    changed = shop.state()
    said = shop.restore("--from", backup["id"], "--overwrite", "--service", "DEFAULT")
    assert said.code == 1, said.out
    failure = said.json["failure"]
    assert "temporary" in failure["message"] and "make room" in failure["message"], failure
    assert shop.state() == changed
    assert shop.left() == []
    temporary_folder.empty()
    said = shop.restore("--from", backup["id"], "--overwrite", "--service", "DEFAULT")
    assert said.code == 0, said.err
    assert shop.rows() == before[0]
    assert list(temporary_folder.folder.iterdir()) == []
