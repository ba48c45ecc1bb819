"""The database tools of the layer, as Lambda runs them: from any folder, with nothing in the environment."""

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from certificates import certify

from checks import glibc
from local.mariadb import MariaDb
from local.postgres import Postgres

ROOT = Path(__file__).resolve().parent.parent
LAYER = ROOT / ".tools" / "layer"
MAJORS = (15, 16, 17, 18)
STATIC = ("postgresql/15/bin", "postgresql/18/bin", "mariadb/bin")
PROGRAMS = [f"postgresql/{major}/bin/{name}" for major in MAJORS for name in ("pg_dump", "pg_restore")]
PROGRAMS += ["mariadb/bin/mariadb", "mariadb/bin/mariadb-dump"]

EMPTY = LAYER / "EMPTY.txt"
pytestmark = pytest.mark.skipif(EMPTY.exists(), reason=EMPTY.read_text() if EMPTY.exists() else "")


def run(program, *arguments, **options):
    """One of the layer's programs, with an empty environment unless `env` says otherwise."""
    return subprocess.run(
        [program if isinstance(program, Path) else LAYER / program, *map(str, arguments)],
        env=options.pop("env", {}),
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_runs_from_another_folder_with_an_empty_environment(program, tmp_path):
    # As in Lambda, where the folder is /opt; what finds its libraries here finds them there.
    elsewhere = shutil.copytree(LAYER / program.rpartition("/bin/")[0], tmp_path / "opt" / "some" / "where")
    said = run(elsewhere / "bin" / Path(program).name, "--version", cwd="/")
    assert (said.returncode, said.stderr) == (0, "")
    major = program.split("/")[1]
    assert said.stdout.startswith(f"{Path(program).name} (PostgreSQL) {major}.") or "MariaDB" in said.stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_needs_no_more_than_amazon_linux_has(program):
    path = LAYER / program
    headers = subprocess.run(["readelf", "--program-headers", "--dynamic", path], capture_output=True, text=True).stdout
    if program.startswith(STATIC):
        assert "INTERP" not in headers and "NEEDED" not in headers
        return
    for part in [path, *(path.parent.parent / "lib").iterdir()]:
        assert glibc.problem(part) is None
    linked = subprocess.run(["ldd", path], capture_output=True, text=True).stdout
    beside = str((path.parent.parent / "lib").resolve())
    for line in linked.splitlines():
        name, _, where = line.strip().partition(" => ")
        system = name.startswith(("linux-vdso", "/lib64/ld-linux", "libc.so", "libm.so", "libdl.so", "librt.so", "libpthread.so"))
        found = os.path.normpath(where.partition(" (")[0])
        assert system or name.startswith("libresolv.so") or found.startswith(beside), line


def test_it_is_small_and_says_what_is_in_it():
    files = [path for path in LAYER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 60_000_000
    manifest = json.loads((LAYER / "MANIFEST.json").read_text())
    listed = set(manifest["files"]) | {"MANIFEST.json"}
    assert listed == {str(path.relative_to(LAYER)) for path in files}
    assert set(manifest["programs"]) == {"mariadb", *(f"postgresql/{major}" for major in MAJORS)}
    licences = {path.stem for path in (LAYER / "licences").iterdir()}
    assert {"mariadb", "openssl", "zlib", "zstd", "lz4", "postgresql-15", "postgresql-18"} <= licences


def test_the_zip_is_the_folder_and_nothing_of_the_moment():
    with zipfile.ZipFile(LAYER.with_suffix(".zip")) as archive:
        entries = archive.infolist()
        names = [entry.filename for entry in entries]
        assert names == sorted(names, key=Path)
        assert set(names) == {str(path.relative_to(LAYER)) for path in LAYER.rglob("*") if path.is_file()}
        assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
        for entry in entries:
            program = Path(entry.filename).parent.name in ("bin", "lib")
            assert entry.external_attr >> 16 & 0o7777 == (0o755 if program else 0o644)
            assert archive.read(entry) == (LAYER / entry.filename).read_bytes()


def test_nothing_says_where_it_was_built():
    for program in PROGRAMS:
        assert str(ROOT).encode() not in (LAYER / program).read_bytes(), program


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Postgres(tmp_path_factory.mktemp("layer") / "cluster") as running:
        running.create_database("shop")
        running.run_sql(
            "CREATE TABLE items (id int PRIMARY KEY, name text); "
            "INSERT INTO items SELECT n, 'a name of some length ' || n FROM generate_series(1, 5000) n",
            database="shop",
        )
        yield running


def dumped(server, major, tmp_path, *options):
    """An archive of the server's `shop` by one of the layer's pg_dumps."""
    archive = tmp_path / f"{major}.dump"
    where = server.dsn_for("shop", "postgres", server.password)
    said = run(f"postgresql/{major}/bin/pg_dump", "--format=custom", "--dbname", where, "--file", archive, *options)
    assert said.returncode == 0, said.stderr
    return archive


@pytest.mark.parametrize(
    "major, compression",
    [(15, "6"), (16, "gzip:6"), (17, "gzip:6"), (17, "zstd:3"), (17, "lz4"), (18, "gzip:6"), (18, "zstd:3"), (18, "lz4")],
)
def test_what_a_pair_writes_it_reads(server, tmp_path, major, compression):
    if major < server.version:
        pytest.skip(f"pg_dump {major} refuses a server of {server.version}")
    archive = dumped(server, major, tmp_path, f"--compress={compression}")
    script = run(f"postgresql/{major}/bin/pg_restore", "--file=-", archive)
    assert script.returncode == 0, script.stderr
    assert script.stdout.count("a name of some length") == 5000


def test_the_pair_of_the_servers_version_restores_into_it(server, tmp_path):
    if server.version not in MAJORS:
        pytest.skip(f"the layer has no pair for {server.version}")
    archive = dumped(server, server.version, tmp_path)
    server.create_database("again")
    where = server.dsn_for("again", "postgres", server.password)
    said = run(f"postgresql/{server.version}/bin/pg_restore", "--jobs=2", "--exit-on-error", "--dbname", where, archive)
    assert (said.returncode, said.stderr) == (0, "")
    sums = [server.run_sql("SELECT md5(string_agg(i::text, ',' ORDER BY id)) FROM items i", database=name) for name in ("shop", "again")]
    assert sums[0] == sums[1] != ""


def test_sixteen_has_no_zstd_and_says_so():
    said = run("postgresql/16/bin/pg_dump", "--format=custom", "--compress=zstd", "--host=/nonexistent", "--dbname=none")
    assert "does not support compression" in said.stderr


class LayersClient:
    """The layer's programs, over TLS to a server whose certificate is `localhost`'s."""

    def __init__(self, server: MariaDb, tls: Path) -> None:
        self.server, self.ca, self.stranger = server, tls / "ca.pem", tls / "stranger.pem"

    def options(self, host="localhost", ca=None):
        return ["--no-defaults", "--protocol=tcp", f"--host={host}", f"--port={self.server.port}", f"--user={self.server.user}",
                f"--password={self.server.password}", f"--ssl-ca={ca or self.ca}", "--ssl-verify-server-cert"]  # fmt: skip

    def client(self, *arguments, stdin=None, **options):
        return run("mariadb/bin/mariadb", *self.options(**options), *arguments, input=stdin)

    def dump(self, *arguments, **options):
        return run("mariadb/bin/mariadb-dump", *self.options(**options), *arguments)


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory):
    tls = certify(tmp_path_factory.mktemp("tls"))
    with MariaDb(tls) as server:
        server.create_database("shop")
        server.create_database("again")
        server.run_sql(f"ALTER USER '{server.user}'@'%' REQUIRE SSL")
        yield LayersClient(server, tls)


def test_mariadb_dumps_and_restores_over_verified_tls(mariadb):
    rows = ",".join(f"({n}, 'n\u00e4me {n}')" for n in range(1000))
    made = mariadb.client("shop", stdin=f"CREATE TABLE items (id int PRIMARY KEY, name text) CHARSET utf8mb4; INSERT INTO items VALUES {rows};")
    assert made.returncode == 0, made.stderr
    assert "Ssl_cipher\tTLS_" in mariadb.client("--execute=SHOW STATUS LIKE 'Ssl_cipher'").stdout
    dump = mariadb.dump("--single-transaction", "shop")
    assert (dump.returncode, dump.stderr) == (0, "")
    assert dump.stdout.rstrip().splitlines()[-1].startswith("-- Dump completed")
    assert mariadb.client("again", stdin=dump.stdout).returncode == 0
    sums = mariadb.client("--execute=CHECKSUM TABLE shop.items, again.items").stdout.split()
    assert sums[3] == sums[5] != "NULL", sums


def test_mariadb_refuses_a_certificate_of_another_authority(mariadb):
    for refused in (mariadb.client("--execute=SELECT 1", ca=mariadb.stranger), mariadb.dump("shop", ca=mariadb.stranger)):
        assert refused.returncode != 0
        assert "certificate" in refused.stderr.lower() and "TLS/SSL error" in refused.stderr, refused.stderr


def test_mariadb_refuses_a_certificate_of_another_name(mariadb):
    for refused in (mariadb.client("--execute=SELECT 1", host="127.0.0.1"), mariadb.dump("shop", host="127.0.0.1")):
        assert refused.returncode != 0
        assert "TLS/SSL error" in refused.stderr, refused.stderr
