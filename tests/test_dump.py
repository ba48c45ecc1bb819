"""`holdfast dump` on a real server: a file that stock tools restore, or nothing."""

import json
import os
import signal
import subprocess
import time
from urllib.parse import quote

import psycopg
import pytest

from local.postgres import Postgres
from platform_under_test import PROGRAM

ROWS = 200_000


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


def run(folder, arguments: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAM, "dump", *arguments], cwd=folder, env=env, check=False, capture_output=True, text=True)


def restored(server: Postgres, file, database: str) -> tuple[int, str]:
    server.create_database(database)
    env = environment(server, PGPASSWORD=server.password)
    command = [server.programs / "pg_restore", "--exit-on-error", "-j2", "-d", database, file]
    subprocess.run(command, env=env, check=True)
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
    with psycopg.connect(server.dsn_for("shop", "postgres", server.password)) as session:
        expected = session.execute("SELECT count(*), md5(string_agg(sale::text, ',' ORDER BY id)) FROM sale").fetchone()
    assert restored(server, file, "shop_again") == expected


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
        running = subprocess.Popen([PROGRAM, "dump", "--output", "shop.dump"], cwd=tmp_path, env=env, stderr=subprocess.PIPE)
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holdfast'"
        waiting = f"{sessions} AND wait_event_type = 'Lock'"
        wait_until(lambda: server.run_sql(waiting).strip() == "1")
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=20) == 130
        assert b"nothing is left" in running.stderr.read()
        wait_until(lambda: server.run_sql(sessions).strip() == "0")
    assert os.listdir(tmp_path) == []


def wait_until(condition, patience: float = 20) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.1)
