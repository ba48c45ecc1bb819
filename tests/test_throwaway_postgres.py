"""The throwaway PostgreSQL: what the tests of backups rely on."""

import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from local import postgres  # noqa: E402


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with postgres.Postgres(tmp_path_factory.mktemp("pg") / "cluster", tls=True) as running:
        yield running


def test_names_and_passwords_may_hold_any_character(server):
    password = server.create_role('a "role" é', "p'ä:ss/w@rd")
    server.create_database("a 'base' é", owner='a "role" é')
    with psycopg.connect(server.dsn_for("a 'base' é", 'a "role" é', password)) as session:
        assert session.execute("SELECT current_user, current_database()").fetchone() == ('a "role" é', "a 'base' é")


def test_a_wrong_password_is_refused(server):
    server.create_role("careful", "right")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.dsn_for("postgres", "careful", "wrong"))


def test_its_certificate_is_trusted_through_its_own_ca_only(server, tmp_path):
    with psycopg.connect(server.dsn) as session:
        assert session.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone() == (True,)
    with postgres.Postgres(tmp_path / "other", tls=True) as other:
        strangers = server.dsn.replace(str(server.ca_file), str(other.ca_file))
        with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
            psycopg.connect(strangers)


def test_it_listens_on_loopback_only(server):
    assert server.run_sql("SHOW listen_addresses") == "127.0.0.1"


def test_a_crash_cuts_sessions_and_keeps_what_was_committed(tmp_path):
    with postgres.Postgres(tmp_path / "cluster") as server:
        session = psycopg.connect(server.dsn, autocommit=True)
        session.execute("CREATE TABLE kept AS SELECT 7 AS answer")
        port = server.port
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
        server.start()
        assert server.port == port
        assert server.run_sql("SELECT answer FROM kept") == "7"


def test_nothing_is_left_of_it(tmp_path):
    with postgres.Postgres(tmp_path / "cluster") as server:
        pid, folder = server.pid, server.folder
    assert not folder.exists()
    assert not Path(f"/proc/{pid}").exists()


def test_a_recorded_server_is_found_and_stopped(tmp_path):
    server = postgres.Postgres(tmp_path / "cluster", outlive=True).start()
    server.record(tmp_path)
    found = postgres.recorded(tmp_path)
    assert (found.pid, found.run_sql("SELECT 1")) == (server.pid, "1")
    assert postgres.stop_recorded(tmp_path)
    assert not server.folder.exists()
    assert postgres.recorded(tmp_path) is None
    assert not postgres.stop_recorded(tmp_path)


def test_a_process_that_took_over_the_recorded_id_is_left_alone(tmp_path):
    server = postgres.Postgres(tmp_path / "cluster", outlive=True).start()
    try:
        server.record(tmp_path)
        record = tmp_path / postgres.RECORD
        record.write_text(record.read_text().replace('"started": "', '"started": "1'))
        assert postgres.recorded(tmp_path) is None
        assert not postgres.stop_recorded(tmp_path)
        assert server.pid
    finally:
        server.stop()


def test_a_folder_with_other_things_is_refused_and_left_alone():
    with tempfile.TemporaryDirectory() as parent:
        # The server's own user can walk into it, so that no other folder is taken in its place.
        Path(parent).chmod(0o755)
        letter = Path(parent) / "full" / "letter.txt"
        letter.parent.mkdir()
        letter.write_text("dear")
        server = postgres.Postgres(letter.parent)
        with pytest.raises(postgres.PostgresError, match="holds other things"):
            server.start()
        server.remove()
        assert letter.read_text() == "dear"


def test_a_server_that_does_not_start_says_why(tmp_path):
    server = postgres.Postgres(tmp_path / "cluster", settings={"shared_buffers": "nonsense"})
    with pytest.raises(postgres.PostgresError, match="shared_buffers"):
        server.start()
    server.remove()
