"""A throwaway MariaDB for the tests: on loopback, in a folder of its own, gone when it is left."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from local.account import of_server, running_as
from local.machine import free_port

PATIENCE = 30.0
SERVERS = ("/usr/sbin/mariadbd", "/usr/bin/mariadbd")


class MariaDbError(RuntimeError):
    """The server is missing or did not start; the message has its log."""


class MariaDb:
    """`with MariaDb() as server:`. The account `keeper` may do everything. `tls` is a folder with `ca.pem`, and the server's
    `server.pem` and `server.key`. `parent` is where its folder is made, if not among the temporary ones."""

    host = "127.0.0.1"
    user = "keeper"

    def __init__(self, tls: Path | None = None, parent: Path | None = None) -> None:
        self.password = secrets.token_urlsafe(16)
        self.port = free_port()
        self._tls = tls
        self._parent = parent

    def __enter__(self) -> MariaDb:
        program = next((one for one in SERVERS if os.path.exists(one)), None) or shutil.which("mariadbd")
        if program is None:
            raise MariaDbError("there is no MariaDB server: run `make install`, or apt-get install mariadb-server")
        self._folder = Path(tempfile.mkdtemp(prefix="holdfast-my-", dir=self._parent))
        self._account = of_server("MariaDB", "mysql", MariaDbError)
        self._give(self._folder)
        # Servers that begin remove what is left of others, where they share the folder of temporary tables.
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "TMPDIR": str(self._folder)}
        options: dict[str, object] = {"cwd": self._folder, "env": environment}
        options |= running_as(self._account)
        data, init = self._folder / "data", self._folder / "init.sql"
        install = ["mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]
        made = subprocess.run([*install, f"--datadir={data}"], check=False, capture_output=True, text=True, **options)
        if made.returncode != 0:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise MariaDbError(f"mariadb-install-db failed: {made.stdout}{made.stderr}")
        init.write_text(
            f"CREATE USER '{self.user}'@'%' IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL PRIVILEGES ON *.* TO '{self.user}'@'%' WITH GRANT OPTION;\n"
        )
        init.chmod(0o600)
        self._give(init)
        log = self._folder / "log"
        command = [
            program, "--no-defaults", f"--datadir={data}", f"--init-file={init}", f"--port={self.port}",
            f"--bind-address={self.host}", "--socket=s", "--pid-file=pid", "--innodb-flush-log-at-trx-commit=0",
            *self._tls_options(),
        ]
        with log.open("wb") as said:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, **options
            )
        deadline = time.monotonic() + PATIENCE
        while self._client("mysql", "SELECT 1").returncode != 0:
            if time.monotonic() > deadline or self._process.poll() is not None:
                words = log.read_text(errors="replace")
                self.__exit__()
                raise MariaDbError(f"MariaDB did not start:\n{words}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _give(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def _tls_options(self) -> list[str]:
        if self._tls is None:
            return []
        files = {"ca": "ca.pem", "cert": "server.pem", "key": "server.key"}
        for name in files.values():
            self._give(Path(shutil.copy(self._tls / name, self._folder)))
        return [f"--ssl-{option}={self._folder / name}" for option, name in files.items()]

    @property
    def ca_file(self) -> Path:
        """The certificate of the authority that vouches for the server, where it has TLS."""
        return self._folder / "ca.pem"

    @property
    def ca_pem(self) -> str:
        """The same, for `verify_full`."""
        return self.ca_file.read_text()

    def run_sql(self, sql: str | bytes, database: str = "mysql") -> str:
        """What `mariadb` prints for `sql`, unadorned."""
        ran = self._client(database, sql)
        if ran.returncode != 0:
            raise MariaDbError(ran.stderr.decode(errors="replace"))
        return ran.stdout.decode().strip()

    def create_database(self, name: str, sql: str = "") -> None:
        """A database with what `sql` makes in it."""
        self.run_sql(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        if sql:
            self.run_sql(sql, name)

    def create_account(self, name: str, password: str, *grants: str) -> None:
        """An account that may log in, over TLS where there is any, and what it may do (`SELECT ON shop.*`)."""
        tls = "REQUIRE SSL" if self._tls else ""
        self.run_sql(f"CREATE USER IF NOT EXISTS `{name}` IDENTIFIED BY '{password}' {tls}")
        for grant in grants:
            self.run_sql(f"GRANT {grant} TO `{name}`")

    def _client(self, database: str, sql: str | bytes) -> subprocess.CompletedProcess[bytes]:
        command = [
            "mariadb", "--no-defaults", "--protocol=TCP", f"--host={self.host}", f"--port={self.port}",
            f"--user={self.user}", "--default-character-set=utf8mb4", "--batch", "--skip-column-names", database,
        ]
        text = sql.encode() if isinstance(sql, str) else sql
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "MYSQL_PWD": self.password}
        return subprocess.run(command, input=text, env=environment, check=False, capture_output=True)
