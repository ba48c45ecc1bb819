"""Runs the Rust tests and the tests of the deployed stack side by side: the latter wait for half of their time.

    tests/side_by_side.py [ARGUMENT_OF_PYTEST…]

The Rust tests are shown as they run, and take what the others leave of the processor; what those say is shown after them. It ends
with 1 if any have failed. Interrupted, both end as they do alone.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUST = ("nice", "-n", "10", "cargo", "test", "--workspace", "--locked", "--no-fail-fast")
# Servers make and remove thousands of files, which takes a fifth of the time on a disk.
MEMORY = Path("/dev/shm")
# They had 5 GiB there at the most; the rest is room for everything else.
MEMORY_BYTES = 16 << 30


def in_memory():
    """A folder that is no disk, where there is room enough; none elsewhere."""
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < MEMORY_BYTES:
        return None
    available = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable:"))
    return MEMORY if int(available.split()[1]) * 1024 >= MEMORY_BYTES else None


def follow(said, process):
    """Shows what is written to the file until the process has ended."""
    with said.open() as text:
        while True:
            has_ended = process.poll() is not None
            while more := text.read(1 << 16):
                sys.stdout.write(more)
                sys.stdout.flush()
            if has_ended:
                return
            time.sleep(0.5)


def main(arguments):
    # The audits of the one look for temporary files that the other would have.
    with tempfile.TemporaryDirectory(prefix="rust-tests-", dir=in_memory(), ignore_cleanup_errors=True) as folder:
        # Some servers run as another user.
        os.chmod(folder, 0o1777)
        said = Path(folder) / "pytest.txt"
        with said.open("w") as out:
            print("The tests of the deployed stack run meanwhile; what they say comes after the Rust tests.", flush=True)
            pytest = subprocess.Popen([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, stdout=out, stderr=out)
        try:
            rust = subprocess.run(RUST, cwd=ROOT, env=os.environ | {"TMPDIR": folder})
            follow(said, pytest)
        except KeyboardInterrupt:
            pytest.wait()
            follow(said, pytest)
            return 130
        failed = [name for name, code in (("the Rust tests", rust.returncode), ("pytest", pytest.returncode)) if code]
        if failed:
            print(f"FAILED: {' and '.join(failed)}", file=sys.stderr)
        return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["tests"]))
