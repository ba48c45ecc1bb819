#!/usr/bin/env python3
"""A throwaway PostgreSQL cluster: made in one folder, on loopback only, gone when told.

It needs the server's programs (`initdb`, `postgres`, `psql`), taken from the newest
`/usr/lib/postgresql/*/bin` or from PATH, and nothing but Python's standard library. Started as root it
runs the server as `postgres`, or as `nobody` where that user is missing, since `initdb` refuses root.
It only ever touches the cluster it made itself.

As a context manager::

    with Postgres(tmp_path / "pg", tls=True) as server:
        password = server.create_role("shop")
        server.create_database("shop", owner="shop")
        server.dsn_for("shop", "shop", password)

From a shell: `postgres.py run --folder DIR [--tls]` serves until Ctrl-C; `postgres.py stop --state DIR`
ends the one recorded in a stack's state folder.

Speed before durability: fsync is off, so the data survive the server being killed but not the machine.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from local.account import of_server, running_as  # noqa: E402
from local.machine import free_port, is_free, start_time  # noqa: E402

SUPERUSER = "postgres"
RECORD = "postgres.json"
# Stands in a folder we made and may therefore delete.
MARKER = "throwaway-cluster"
START_SECONDS = 30
STOP_SECONDS = 30
# sun_path holds 108 bytes with its NUL, and the socket adds "/.s.PGSQL.65535.lock" to its folder.
LONGEST_SOCKET_FOLDER = 107 - len("/.s.PGSQL.65535.lock")
# What a copy of a cluster takes along beside its data.
BESIDE = ("password", "ca.pem", "server.pem", "server.key")
PROGRAMS = ("initdb", "postgres", "psql")


class PostgresError(RuntimeError):
    """The server could not be made, started or asked; the message says why and what to do."""


def find_programs(major: int | None = None) -> Path:
    """The folder that holds the server's programs: the newest version, or the asked-for `major`.

    Raises PostgresError when there is none.
    """
    found = []
    for folder in Path("/usr/lib/postgresql").glob("*/bin"):
        if folder.parent.name.isdigit() and all((folder / name).exists() for name in PROGRAMS):
            found.append((int(folder.parent.name), folder))
    if on_path := shutil.which("initdb"):
        folder = Path(on_path).resolve().parent
        if all((folder / name).exists() for name in PROGRAMS):
            found.append((_major_of(folder), folder))
    if major is not None:
        found = [entry for entry in found if entry[0] == major]
    if not found:
        wanted = f"PostgreSQL {major}" if major else "PostgreSQL"
        raise PostgresError(
            f"the {wanted} server is not installed: no initdb in /usr/lib/postgresql/*/bin or on PATH; "
            "run `make install`, or apt-get install postgresql"
        )
    return max(found, key=lambda entry: entry[0])[1]


class Postgres:
    """One throwaway cluster in `folder`, or in a temporary folder when none is given.

    `tls` has it offer TLS with a certificate for localhost and 127.0.0.1, signed by a CA made for this
    cluster alone (`ca_file`, `ca_pem`). `outlive` leaves the server running when this process ends.
    `settings` are further lines of its configuration. `programs` is the folder of its programs, where they are
    not those of an installed server. An existing cluster made by this class is reused; a folder that holds
    anything else is refused. As root, a folder that the server's user cannot reach is replaced by a temporary
    one: see `folder`.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        tls: bool = False,
        port: int | None = None,
        major: int | None = None,
        outlive: bool = False,
        settings: dict[str, str] | None = None,
        programs: Path | None = None,
    ) -> None:
        self.programs = programs or find_programs(major)
        self.tls = tls
        self.settings = settings or {}
        self.host = "127.0.0.1"
        self.port = port
        self._fixed_port = port is not None
        self._outlive = outlive
        self._account = of_server("PostgreSQL", "postgres", PostgresError)
        self.folder = _reachable(Path(folder).resolve() if folder else None, self._account)
        self.data = self.folder / "data"
        self.log_file = self.folder / "server.log"
        self.ca_file = self.folder / "ca.pem"
        self.socket_folder = self.folder / "socket"
        self._short_socket: str | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Postgres:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.remove()

    @property
    def password(self) -> str:
        """The superuser's password."""
        return (self.folder / "password").read_text().strip()

    @property
    def dsn(self) -> str:
        """Connection URI of the superuser to the maintenance database, over TCP."""
        return self.dsn_for("postgres", SUPERUSER, self.password)

    @property
    def ca_pem(self) -> str:
        """The CA's certificate, for `verify_full`."""
        return self.ca_file.read_text()

    @property
    def pid(self) -> int | None:
        """The postmaster's process id while this object's server runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def version(self) -> int:
        """The server's major version."""
        return _major_of(self.programs)

    def dsn_for(self, database: str, user: str, password: str) -> str:
        """Connection URI for `user` to `database`, over TCP; with TLS it verifies name and CA."""
        tls = f"?sslmode=verify-full&sslrootcert={quote(str(self.ca_file))}" if self.tls else "?sslmode=disable"
        user, password, database = (quote(text, safe="") for text in (user, password, database))
        return f"postgresql://{user}:{password}@{self.host}:{self.port}/{database}{tls}"

    def start(self) -> Postgres:
        """Make the cluster if need be, start it, and wait until it answers.

        Raises PostgresError with the end of the server's log when it does not come up.
        """
        if self.pid:
            return self
        self._make_folder()
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        if self.tls and not self.ca_file.exists():
            self._make_certificates()
        if not self._outlive:
            atexit.register(self._stop_quietly)
        attempts = 1 if self._fixed_port else 5
        for attempt in range(1, attempts + 1):
            if not self._fixed_port:
                # A restarted server keeps its address where it can: clients have been told.
                self.port = self.port if self.port and attempt == 1 and is_free(self.port) else free_port()
            try:
                self._launch()
                return self
            except PostgresError as error:
                if "Address already in use" not in str(error) or attempt == attempts:
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    def stop(self) -> None:
        """Shut down in order, ending open sessions ("fast" shutdown). Harmless when not running."""
        self._end(signal.SIGINT)
        atexit.unregister(self._stop_quietly)

    def kill(self) -> None:
        """Crash the server: every session is cut at once and the next start recovers ("immediate" shutdown)."""
        self._end(signal.SIGQUIT)

    def restart(self) -> Postgres:
        """Stop and start on the same port."""
        self._end(signal.SIGINT)
        return self.start()

    def remove(self) -> None:
        """Delete the cluster's folder. The server must be stopped."""
        if self.pid:
            raise PostgresError(f"the PostgreSQL in {self.folder} still runs; stop it before deleting it")
        _delete(self.folder, self._short_socket)

    def run_sql(self, sql: str, database: str = "postgres") -> str:
        """Run `sql` as the superuser over the local socket; gives psql's unaligned output.

        Raises PostgresError with the server's message.
        """
        done = self._run(
            "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self._socket(), "-p", str(self.port),
            "-U", SUPERUSER, "-d", database, "-f", "-",
            stdin=sql, env={"PGPASSWORD": self.password, "PGCLIENTENCODING": "UTF8"},
        )
        return done.stdout.strip()

    def create_role(self, name: str, password: str | None = None, attributes: str = "") -> str:
        """Create or alter a role that may log in; returns its password (made up when not given)."""
        password = password or secrets.token_urlsafe(18)
        exists = self.run_sql(f"SELECT 1 FROM pg_roles WHERE rolname = {_literal(name)}")
        verb = "ALTER" if exists else "CREATE"
        self.run_sql(f"{verb} ROLE {_identifier(name)} LOGIN {attributes} PASSWORD {_literal(password)}")
        return password

    def create_database(self, name: str, owner: str | None = None) -> None:
        """Create an empty database unless it exists."""
        if not self.has_database(name):
            owned = f" OWNER {_identifier(owner)}" if owner else ""
            self.run_sql(f"CREATE DATABASE {_identifier(name)}{owned} TEMPLATE template0 ENCODING 'UTF8'")

    def drop_database(self, name: str) -> None:
        """Drop a database, ending its sessions, if it exists."""
        self.run_sql(f"DROP DATABASE IF EXISTS {_identifier(name)} WITH (FORCE)")

    def has_database(self, name: str) -> bool:
        """Whether a database of this name exists."""
        return self.run_sql(f"SELECT 1 FROM pg_database WHERE datname = {_literal(name)}") == "1"

    def record(self, state_dir: str | os.PathLike[str]) -> None:
        """Note this running server in `state_dir`, for `recorded` and `stop_recorded`."""
        pid = self.pid
        if not pid:
            raise PostgresError(f"the PostgreSQL in {self.folder} does not run: there is nothing to record")
        path = Path(state_dir) / RECORD
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(self.description(), indent=2) + "\n")
        fresh.replace(path)

    def description(self) -> dict[str, object]:
        """What another process needs to know of this running server, as JSON."""
        return {
            "pid": self.pid,
            "started": start_time(self.pid),
            "folder": str(self.folder),
            "socket": self._short_socket,
            "programs": str(self.programs),
            "port": self.port,
            "tls": self.tls,
        }

    def copy_to(self, folder: Path) -> None:
        """Copy the files of this running server into a new `folder`, for `take_over`: all that is committed by now, in the state
        of one moment. Writes go on meanwhile."""
        self._own(folder)
        self._run(
            "pg_basebackup", "-D", str(folder / "data"), "-h", self._socket(), "-p", str(self.port), "-U", SUPERUSER,
            "-X", "stream", "-c", "fast", "--no-sync", "--no-password", env={"PGPASSWORD": self.password},
        )  # fmt: skip
        for name in BESIDE:
            if (self.folder / name).exists():
                shutil.copy2(self.folder / name, folder / name)

    def take_over(self, folder: Path) -> None:
        """Begin with what `copy_to` has left in `folder`, which stays as it is: the same roles, passwords and certificate."""
        self._make_folder()
        shutil.copytree(folder, self.folder, dirs_exist_ok=True)
        if self._account:
            for path in [self.folder, *self.folder.rglob("*")]:
                os.chown(path, self._account.pw_uid, self._account.pw_gid, follow_symlinks=False)

    def _own(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        if self._account:
            os.chown(folder, self._account.pw_uid, self._account.pw_gid)

    def _make_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / MARKER).exists():
            if any(self.folder.iterdir()):
                raise PostgresError(f"{self.folder} holds other things; name an empty folder for the throwaway cluster")
            (self.folder / MARKER).write_text("This folder is deleted with its PostgreSQL cluster.\n")
        if self._account:
            os.chown(self.folder, self._account.pw_uid, self._account.pw_gid)
        self.folder.chmod(0o700)

    def _initialise(self) -> None:
        secret = self.folder / "password"
        self._write(secret, secrets.token_urlsafe(18) + "\n")
        self._run(
            "initdb", "-D", str(self.data), "-U", SUPERUSER, f"--pwfile={secret}", "-A", "scram-sha-256",
            "-E", "UTF8", "--locale=C", "--no-sync",
        )
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write("\ninclude_if_exists = '../server.conf'\n")

    def _configure(self) -> None:
        values = {
            "listen_addresses": self.host,
            "port": str(self.port),
            "unix_socket_directories": self._socket(),
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": "60",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "logging_collector": "off",
        }
        if self.tls:
            values |= {"ssl": "on", "ssl_cert_file": "../server.pem", "ssl_key_file": "../server.key"}
        values |= self.settings
        lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n" for name, value in values.items()]
        self._write(self.folder / "server.conf", "".join(lines))

    def _socket(self) -> str:
        if len(os.fsencode(self.socket_folder)) <= LONGEST_SOCKET_FOLDER:
            return str(self.socket_folder)
        if not self._short_socket:
            self._short_socket = tempfile.mkdtemp(prefix="holdfast-pg-", dir="/tmp")
            if self._account:
                os.chown(self._short_socket, self._account.pw_uid, self._account.pw_gid)
        return self._short_socket

    def _launch(self) -> None:
        self.socket_folder.mkdir(mode=0o700, exist_ok=True)
        if self._account:
            os.chown(self.socket_folder, self._account.pw_uid, self._account.pw_gid)
        self._configure()
        with self.log_file.open("ab") as log:
            begin = log.tell()
            self._process = subprocess.Popen(
                [self.programs / "postgres", "-D", str(self.data)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                # Its own session: Ctrl-C in the terminal is for us, and we shut it down in order.
                start_new_session=True, env=_environment(), **running_as(self._account),
            )
        deadline = time.monotonic() + START_SECONDS
        try:
            while time.monotonic() < deadline:
                if self._process.poll() is not None:
                    break
                if self._answers():
                    return
                time.sleep(0.05)
        except BaseException:
            self._end(signal.SIGQUIT)
            raise
        self._end(signal.SIGQUIT)
        text = self.log_file.read_bytes()[begin:].decode(errors="replace").strip()
        raise PostgresError(f"PostgreSQL did not start in {self.folder}; the end of its log:\n{text[-2000:]}")

    def _answers(self) -> bool:
        # The postmaster writes "ready" as the eighth line of its pid file once it accepts sessions.
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(self._process.pid) and lines[7].strip() == "ready"

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if not process or process.poll() is not None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _stop_quietly(self) -> None:
        self._end(signal.SIGINT)

    def _make_certificates(self) -> None:
        # An end-entity certificate of its own, not the CA's: strict verifiers refuse a CA as a server.
        if not shutil.which("openssl"):
            raise PostgresError("TLS needs the openssl program: run `make install`, or apt-get install openssl")
        extensions = self.folder / "server.ext"
        self._write(
            extensions,
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
            "extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n",
        )
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        days = ["-days", "3650"]
        self._run(
            "openssl", "req", "-x509", *key, *days, "-keyout", "ca.key", "-out", "ca.new",
            "-subj", "/CN=Throwaway PostgreSQL CA", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )
        self._run("openssl", "req", "-new", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
        self._run(
            "openssl", "x509", "-req", "-in", "server.csr", "-CA", "ca.new", "-CAkey", "ca.key", "-CAcreateserial",
            *days, "-extfile", str(extensions), "-out", "server.pem",
        )
        (self.folder / "server.key").chmod(0o600)
        # Last, as its presence says that the set is whole.
        (self.folder / "ca.new").rename(self.ca_file)

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o600)
        if self._account:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def _run(
        self, program: str, *arguments: str, stdin: str | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        here = self.programs / program
        done = subprocess.run(
            [str(here) if here.exists() else program, *arguments],
            input=stdin, stdin=subprocess.DEVNULL if stdin is None else None, capture_output=True, text=True,
            cwd=self.folder, env=_environment() | (env or {}), check=False, **running_as(self._account),
        )
        if done.returncode:
            raise PostgresError(f"{program} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
        return done


def recorded(state_dir: str | os.PathLike[str]) -> Recorded | None:
    """The server noted in `state_dir` if it still runs; a record of a dead one counts as none."""
    try:
        content = json.loads((Path(state_dir) / RECORD).read_text())
        found = Recorded(content)
    except (OSError, ValueError, KeyError):
        return None
    return found if found.runs() else None


def stop_recorded(state_dir: str | os.PathLike[str]) -> bool:
    """Stop the server noted in `state_dir`, in order, and delete its throwaway cluster.

    Gives whether one was running. Only ever signals the very process that was recorded (same id and same
    start time). Raises PostgresError when it does not end.
    """
    path = Path(state_dir) / RECORD
    try:
        noted = Recorded(json.loads(path.read_text()))
    except FileNotFoundError:
        return False
    except (ValueError, KeyError) as error:
        raise PostgresError(f"{path} is not readable as a record ({error}); delete it to go on") from error
    was_running = noted.runs()
    if was_running:
        os.kill(noted.pid, signal.SIGINT)
        deadline = time.monotonic() + STOP_SECONDS
        while noted.runs():
            if time.monotonic() > deadline:
                raise PostgresError(f"PostgreSQL (process {noted.pid}) has not stopped within {STOP_SECONDS} s")
            _reap(noted.pid)
            time.sleep(0.05)
    _delete(noted.folder, noted.short_socket)
    path.unlink(missing_ok=True)
    return was_running


class Recorded(Postgres):
    """A running server found through its record; it can be asked, and is ended by `stop_recorded`."""

    def __init__(self, content: dict[str, object]) -> None:
        self._recorded_pid = int(content["pid"])
        self._started = content["started"]
        self.folder = Path(content["folder"])
        self.programs = Path(content["programs"])
        self.port = int(content["port"])
        self.tls = bool(content["tls"])
        self.short_socket = self._short_socket = content["socket"]
        self.host = "127.0.0.1"
        self.data = self.folder / "data"
        self.log_file = self.folder / "server.log"
        self.ca_file = self.folder / "ca.pem"
        self.socket_folder = self.folder / "socket"
        self._account = of_server("PostgreSQL", "postgres", PostgresError)

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        return self._recorded_pid

    def runs(self) -> bool:
        """Whether the very process that was recorded is alive."""
        return self._started is not None and start_time(self.pid) == self._started

    def start(self) -> Postgres:
        """Nothing to do: it runs."""
        return self

    def stop(self) -> None:
        """Refused: use `stop_recorded`, which clears the record as well."""
        raise PostgresError("a recorded server is stopped with stop_recorded(state_dir)")

    kill = stop
    restart = stop


def _reachable(folder: Path | None, account: pwd.struct_passwd | None) -> Path:
    """`folder`, or a temporary one where none is named or `account` may not walk down to it (a root's home)."""
    if folder is not None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if account is None:
            return folder
        walk = subprocess.run(["test", "-x", str(folder.parent)], check=False, **running_as(account))
        if walk.returncode == 0:
            return folder
    return Path(tempfile.mkdtemp(prefix="holdfast-pg-"))


def _environment() -> dict[str, str]:
    # Without the caller's PG* variables, which could point our programs at another server.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG") and name != "HOME"}
    return kept | {"LC_ALL": "C", "LC_MESSAGES": "C", "TZ": "UTC"}


def _major_of(programs: Path) -> int:
    text = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\) (\d+)", text)
    if not found:
        raise PostgresError(f"{programs}/postgres does not tell its version: {text.strip()}")
    return int(found.group(1))


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        # Not our child: whoever is its parent collects it.
        return


def _delete(folder: Path, short_socket: str | None) -> None:
    if (folder / MARKER).exists():
        shutil.rmtree(folder, ignore_errors=True)
    if short_socket:
        shutil.rmtree(short_socket, ignore_errors=True)


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def main() -> int:
    """Serve from a folder until Ctrl-C, or stop a recorded server."""
    parser = argparse.ArgumentParser(description="A throwaway PostgreSQL cluster on loopback.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="make and serve a cluster until Ctrl-C, then delete it")
    run.add_argument("--folder", help="where to keep it (default: a temporary folder)")
    run.add_argument("--port", type=int, help="default: a free one")
    run.add_argument("--tls", action="store_true", help="offer TLS with a certificate of its own CA")
    stop = commands.add_parser("stop", help="stop the server recorded in a state folder")
    stop.add_argument("--state", required=True, help="the stack's state folder")
    arguments = parser.parse_args()
    try:
        if arguments.command == "stop":
            print("PostgreSQL stopped" if stop_recorded(arguments.state) else "PostgreSQL was not running")
            return 0
        # A manager stops us with SIGTERM: leave through the context manager then, too.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with Postgres(arguments.folder, tls=arguments.tls, port=arguments.port) as server:
            print(f"PostgreSQL {server.version}: {server.dsn}", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        return 0
    except PostgresError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
