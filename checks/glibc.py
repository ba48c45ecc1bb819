"""Fails when a program needs a newer glibc than the Lambda runtime has.

    checks/glibc.py PROGRAM…

`provided.al2023` is Amazon Linux 2023 with glibc 2.34: https://docs.aws.amazon.com/linux/al2023/ug/compare-with-al2.html.
A program built on a newer system starts there with "version `GLIBC_2.38' not found", in the first invocation.
"""

import re
import sys
from pathlib import Path

RUNTIME = (2, 34)
# The names of needed versions stand in the dynamic string table, each ended by NUL.
NEEDED = re.compile(rb"GLIBC_(\d+)\.(\d+)(?:\.\d+)?\0")


def needed(program: bytes) -> tuple[int, int]:
    """The newest glibc the program asks for; (0, 0) for a static one."""
    if not program.startswith(b"\x7fELF"):
        raise ValueError("is not a program for Linux")
    return max(((int(major), int(minor)) for major, minor in NEEDED.findall(program)), default=(0, 0))


def problem(path: Path) -> str | None:
    """What is wrong with the program, and what to do about it."""
    try:
        version = needed(path.read_bytes())
    except ValueError as error:
        return f"{path} {error}: build the functions on Linux, on the processor architecture they deploy to."
    if version <= RUNTIME:
        return None
    return (
        f"{path} needs glibc {version[0]}.{version[1]}, and the Lambda runtime provided.al2023 has "
        f"{RUNTIME[0]}.{RUNTIME[1]}: build on a system whose programs run there, such as Amazon Linux 2023, Debian 12 or "
        f"Ubuntu 22.04."
    )


if __name__ == "__main__":
    problems = [found for found in map(problem, map(Path, sys.argv[1:])) if found]
    print("\n".join(problems), file=sys.stderr, end="\n" if problems else "")
    sys.exit(bool(problems))
