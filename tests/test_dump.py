"""`holdfast dump` on a real server: a file or an object that stock tools restore, or nothing."""

import json
import os
import signal
import subprocess
import time
from urllib.parse import quote

import psycopg
import pytest

from local.built import TRIED
from local.postgres import Postgres

ROWS = 250_000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Postgres(tmp_path_factory.mktemp("dump") / "cluster", tls=True) as running:
        running.create_database("shop")
        running.run_sql(
            f"CREATE TABLE sale AS SELECT n AS id, md5(n::text) AS item FROM generate_series(1, {ROWS}) n;"
            "CREATE INDEX ON sale (id); CREATE TABLE nothing (a int)",
            "shop",
        )
        yield running


def environment(server: Postgres, **more: str) -> dict[str, str]:
    return {"HOME": "/nonexistent", "PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": "postgres", **more}


@pytest.fixture(scope="module")
def bucket(bare_stack):
    s3 = bare_stack.client("s3")
    s3.create_bucket(Bucket="dumps", CreateBucketConfiguration={"LocationConstraint": bare_stack.region})
    yield s3


def aws(stack, server: Postgres) -> dict[str, str]:
    named = {name: value for name, value in stack.env.items() if name.startswith("AWS_")}
    return environment(server, PGDATABASE="shop", PGPASSWORD=server.password, **named)


def left_in(s3) -> tuple[list[str], list[str]]:
    """Keys of objects, and of uploads that are open."""
    objects = s3.list_objects_v2(Bucket="dumps").get("Contents", [])
    uploads = s3.list_multipart_uploads(Bucket="dumps").get("Uploads", [])
    return [found["Key"] for found in objects], [upload["Key"] for upload in uploads]


def run(folder, arguments: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([TRIED.holdfast, "dump", *arguments], cwd=folder, env=env, check=False, capture_output=True, text=True)


def restored(server: Postgres, file, database: str) -> tuple[int, str]:
    server.create_database(database)
    env = environment(server, PGPASSWORD=server.password)
    command = [server.programs / "pg_restore", "--exit-on-error", "-j2", "-d", database, file]
    subprocess.run(command, env=env, check=True)
    return rows_of(server, database)


def rows_of(server: Postgres, database: str) -> tuple[int, str]:
    with psycopg.connect(server.dsn_for(database, "postgres", server.password)) as session:
        return session.execute("SELECT count(*), md5(string_agg(sale::text, ',' ORDER BY id)) FROM sale").fetchone()


def test_a_dump_restores_to_the_same_rows(server, tmp_path):
    said = run(
        tmp_path, ["--output", "shop.dump", "--json", "--compress", "gzip:1"],
        environment(server, PGDATABASE="shop", PGPASSWORD=server.password),
    )
    assert (said.returncode, said.stderr) == (0, "")
    report = json.loads(said.stdout)
    assert (report["rows"], report["tables"]) == (ROWS, 2)
    file = tmp_path / "shop.dump"
    assert (file.stat().st_size, file.stat().st_mode & 0o777) == (report["bytes"], 0o600)
    assert os.listdir(tmp_path) == ["shop.dump"]
    assert restored(server, file, "shop_again") == rows_of(server, "shop")


def test_a_server_is_verified_and_a_password_looked_up(server, tmp_path):
    passfile = tmp_path / "passfile"
    passfile.write_text(f"*:*:shop:postgres:{server.password}\n")
    passfile.chmod(0o600)
    dsn = f"postgresql://postgres@{server.host}:{server.port}/shop?sslmode=verify-full&sslrootcert="
    known = run(
        tmp_path, ["--dsn", dsn + quote(str(server.ca_file), safe=""), "--output", "known.dump"],
        {"HOME": "/nonexistent", "PGPASSFILE": str(passfile)},
    )
    assert known.returncode == 0, known.stderr
    stranger = run(tmp_path, ["--dsn", dsn + "system", "--output", "stranger.dump"], {"PGPASSFILE": str(passfile)})
    assert stranger.returncode == 1
    assert "certificate" in stranger.stderr and "sslrootcert" in stranger.stderr
    assert sorted(os.listdir(tmp_path)) == ["known.dump", "passfile"]


def test_ctrl_c_leaves_nothing(server, tmp_path):
    env = environment(server, PGDATABASE="shop", PGPASSWORD=server.password)
    with psycopg.connect(server.dsn_for("shop", "postgres", server.password)) as holder:
        holder.execute("LOCK TABLE sale")
        running = subprocess.Popen([TRIED.holdfast, "dump", "--output", "shop.dump"], cwd=tmp_path, env=env, stderr=subprocess.PIPE)
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holdfast'"
        waiting = f"{sessions} AND wait_event_type = 'Lock'"
        wait_until(lambda: server.run_sql(waiting).strip() == "1")
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=20) == 130
        assert b"nothing is left" in running.stderr.read()
        wait_until(lambda: server.run_sql(sessions).strip() == "0")
    assert os.listdir(tmp_path) == []


def test_a_dump_in_a_bucket_restores_to_the_same_rows(server, bare_stack, bucket, tmp_path):
    address = "s3://dumps/nightly/shop 1.dump"
    # The region is found out from the bucket, as with AWS itself.
    env = aws(bare_stack, server)
    arguments = ["--output", address, "--json", "--storage-class", "STANDARD_IA", "--compress", "none"]
    said = run(tmp_path, arguments, env)
    assert (said.returncode, said.stderr) == (0, "")
    report = json.loads(said.stdout)
    assert (report["object"], report["rows"], report["storage_class"]) == (address, ROWS, "STANDARD_IA")
    assert left_in(bucket) == (["nightly/shop 1.dump"], []), "and nothing beside it"
    head = bucket.head_object(Bucket="dumps", Key="nightly/shop 1.dump", ChecksumMode="ENABLED")
    assert (head["ContentLength"], head["ChecksumCRC64NVME"]) == (report["bytes"], report["crc64nvme"])
    assert report["bytes"] > 8 * 1024 * 1024, "more than one part"
    file = tmp_path / "downloaded.dump"
    bucket.download_file("dumps", "nightly/shop 1.dump", str(file))
    listed = subprocess.run([server.programs / "pg_restore", "-l", file], check=True, capture_output=True, text=True).stdout
    assert "TABLE DATA public sale" in listed
    assert restored(server, file, "shop_from_bucket") == rows_of(server, "shop")

    again = run(tmp_path, arguments, env)
    assert again.returncode == 1 and "is there already" in again.stderr and "--overwrite" in again.stderr
    assert run(tmp_path, [*arguments, "--overwrite"], env).returncode == 0
    bucket.delete_object(Bucket="dumps", Key="nightly/shop 1.dump")


def test_an_object_that_comes_in_between_is_not_replaced(server, bare_stack, bucket, tmp_path):
    with psycopg.connect(server.dsn_for("shop", "postgres", server.password)) as holder:
        holder.execute("LOCK TABLE sale")
        running = subprocess.Popen(
            [TRIED.holdfast, "dump", "--output", "s3://dumps/taken.dump"], cwd=tmp_path, env=aws(bare_stack, server),
            stderr=subprocess.PIPE, text=True,
        )
        wait_until(lambda: left_in(bucket) == ([], ["taken.dump"]))
        bucket.put_object(Bucket="dumps", Key="taken.dump", Body=b"somebody else's")
    said = running.communicate(timeout=60)[1]
    assert running.returncode == 1 and "s3://dumps/taken.dump is there already" in said, said
    assert left_in(bucket) == (["taken.dump"], [])
    assert bucket.get_object(Bucket="dumps", Key="taken.dump")["Body"].read() == b"somebody else's"
    bucket.delete_object(Bucket="dumps", Key="taken.dump")


def test_ctrl_c_leaves_no_object_and_no_upload(server, bare_stack, bucket, tmp_path):
    with psycopg.connect(server.dsn_for("shop", "postgres", server.password)) as holder:
        holder.execute("LOCK TABLE sale")
        running = subprocess.Popen(
            [TRIED.holdfast, "dump", "--output", "s3://dumps/stopped.dump"], cwd=tmp_path, env=aws(bare_stack, server),
            stderr=subprocess.PIPE, text=True,
        )
        wait_until(lambda: left_in(bucket) == ([], ["stopped.dump"]))
        running.send_signal(signal.SIGINT)
        said = running.communicate(timeout=30)[1]
        assert running.returncode == 130 and "nothing is left" in said, said
    assert left_in(bucket) == ([], [])


def test_buckets_and_credentials_that_do_not_work_are_named(server, bare_stack, bucket, tmp_path):
    env = aws(bare_stack, server)
    missing = run(tmp_path, ["--output", "s3://nobodys-dumps/shop.dump"], env)
    assert missing.returncode == 1 and "there is no bucket nobodys-dumps" in missing.stderr
    nobody = {name: value for name, value in env.items() if name not in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    unsigned = run(tmp_path, ["--output", "s3://dumps/shop.dump"], nobody)
    assert unsigned.returncode == 1 and "no AWS credentials" in unsigned.stderr, unsigned.stderr
    assert left_in(bucket) == ([], [])


def wait_until(condition, patience: float = 20) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.1)
