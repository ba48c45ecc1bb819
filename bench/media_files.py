#!/usr/bin/env python3
"""How long it takes to look into a large media archive and to take one file out of it, on the local stack.

    bench/media_files.py [--gib 10] [--files 1000] [--runs 5] [--latency 20]

Deploys the template to a local stack of its own and backs a bucket up: `--gib` GiB in files of 512 MiB, and behind them
`--files` files of 1 MiB. Then it lists a page of 100 entries and takes single files of 1 MiB out, as `holdfast backup files` and
`holdfast backup cat` do, and prints how long each call of the command line took from its start to its end.

S3 is the endpoint that computes its objects (bench/s3_endpoint.py), which answers each request `--latency` milliseconds
later; all else is the local stack's. The local stack's own S3 holds every object in memory, more than twice, and has no room for
such an archive.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from s3_endpoint import EXAMPLES, Endpoint

from local.built import RELEASE
from local.stack import Stack, StackError

MIB = 1 << 20
LARGE, SMALL = 512 * MIB, MIB
PAGE = 100
LIMIT_SECONDS = 1.0


def holdfast(stack: Stack, *arguments: str) -> bytes:
    done = subprocess.run([RELEASE.holdfast, "--api", stack.api_url, "--output", "json", *arguments], env=stack.env, stdout=subprocess.PIPE)
    if done.returncode:
        raise StackError(f"`holdfast {' '.join(arguments)}` ended with {done.returncode}: {done.stdout.decode()[-2000:]}")
    return done.stdout


def register(stack: Stack, bucket: str, folder: Path) -> None:
    document = folder / "bench.json"
    document.write_text(json.dumps({"services": [{"kind": "storage", "name": "MEDIA", "bucket": bucket, "prefix": "media/"}]}))
    holdfast(stack, "apps", "put", "bench", "--file", str(document))


def timed(stack: Stack, *arguments: str) -> tuple[float, bytes]:
    began = time.monotonic()
    said = holdfast(stack, *arguments)
    return time.monotonic() - began, said


def report(what: str, seconds: list[float]) -> bool:
    print(f"  {what:<44}{seconds[0]:>9.3f}{statistics.median(seconds[1:]):>9.3f}{max(seconds[1:]):>9.3f}")
    return max(seconds) <= LIMIT_SECONDS


def measure(folder: Path, wanted: argparse.Namespace) -> int:
    large = wanted.gib * 2
    bucket = f"set-{large}-{LARGE}-{wanted.files}-{SMALL}"
    stack = Stack(folder / "stack")
    with Endpoint(wanted.latency) as endpoint, stack.start(AWS_ENDPOINT_URL_S3=endpoint.url):
        stack.deploy(RELEASE.template)
        register(stack, bucket, folder)
        took, said = timed(stack, "backup", "create", "bench")
        backup = json.loads(said)
        size = backup["artifacts"][0]["object"]["size"]
        print(f"A tar of {size:,} bytes with {large + wanted.files:,} files, made in {took:.1f} s")
        # The last hundred numbers that begin alike.
        prefix = f"{(large + wanted.files) // PAGE - 1:07}"
        names = [f"{prefix}{number:02}" for number in range(PAGE)]
        pages, files = [], []
        for run in range(wanted.runs + 1):
            took, said = timed(stack, "backup", "files", "bench", backup["id"], "--prefix", prefix, "--limit", str(PAGE))
            found = [entry["key"] for entry in json.loads(said)["items"]]
            if found != names:
                raise StackError(f"the page has {len(found)} entries, from {found[:1]} on: it is not the one that was asked for")
            pages.append(took)
            name = names[run * 7 % PAGE]
            took, said = timed(stack, "backup", "cat", "bench", backup["id"], name)
            if len(said) != SMALL:
                raise StackError(f"{name} came with {len(said)} bytes")
            files.append(took)
    print(f"  {'seconds':<44}{'first':>9}{'median':>9}{'most':>9}")
    kept = report(f"a page of {PAGE} entries", pages)
    kept &= report(f"one file of {SMALL // MIB} MiB", files)
    return 0 if kept else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gib", type=int, default=10, help="GiB in files of 512 MiB")
    parser.add_argument("--files", type=int, default=1000, help="files of 1 MiB, at least 200")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--latency", type=int, default=20, help="milliseconds before each answer of S3")
    wanted = parser.parse_args()
    if wanted.files < 2 * PAGE:
        parser.error(f"--files must be {2 * PAGE} at the least")
    folder = Path(tempfile.mkdtemp(prefix="holdfast-bench-"))
    # Being told to end cleans up as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(f"$ bench/media_files.py --gib {wanted.gib} --files {wanted.files} --runs {wanted.runs} --latency {wanted.latency}")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MIB
    print(f"{os.cpu_count()} cores and {memory} MiB of memory, shared with the local stack and the endpoint")
    try:
        if not (EXAMPLES / "synthetic_s3").exists():
            raise StackError(f"{EXAMPLES / 'synthetic_s3'} is missing: run `make bench-media`")
        return measure(folder, wanted)
    except StackError as error:
        print(f"bench failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
