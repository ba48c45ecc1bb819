"""The compiler: zig's clang, for musl, so that what it links needs nothing of the system it runs on."""

import os
import subprocess
from pathlib import Path

TARGET = "x86_64-linux-musl"
# clang takes __DATE__ and OpenSSL the date of its build from here: 2026-01-01.
EPOCH = 1767225600


class Broken(Exception):
    """A step of the build failed; has the end of what it printed."""


class Toolchain:
    """`layer-cc` and its like. They are called by name, found through PATH: their own path must not get into what they
    build, nor may that of the sources."""

    def __init__(self, zig: Path, work: Path) -> None:
        self.work = work
        programs = work / "toolchain"
        programs.mkdir()
        # zig compiles its C++ library for each combination of optimisation, stripping and linking that it is asked for:
        # always the same, also for what `configure` tries.
        flags = f"-target {TARGET} -O2 -g0 -static -s -ffile-prefix-map={work}=/layer -Wno-unused-command-line-argument"
        for name, command in {
            "layer-cc": f"cc {flags}",
            "layer-c++": f"c++ {flags}",
            "layer-ar": "ar",
            "layer-ranlib": "ranlib",
        }.items():
            script = programs / name
            script.write_text(f'#!/bin/sh\nexec "{zig}" {command} "$@"\n')
            script.chmod(0o755)
        self.environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(work),
            "LC_ALL": "C",
            "TZ": "UTC",
            "SOURCE_DATE_EPOCH": str(EPOCH),
            "ZIG_GLOBAL_CACHE_DIR": str(work / "zig-cache"),
            "ZIG_LOCAL_CACHE_DIR": str(work / "zig-cache"),
        }
        self.jobs = f"-j{os.cpu_count() or 1}"

    def run(self, where: Path, *command: str | Path) -> None:
        """One step, in the folder `where`."""
        done = subprocess.run(
            command,
            cwd=where,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        if done.returncode != 0:
            said = "\n".join(done.stdout.splitlines()[-40:])
            raise Broken(f"{' '.join(map(str, command))[:300]}\nfailed in {where.name}:\n{said}")
