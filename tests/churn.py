"""Replaces, deletes and adds objects of a bucket until it is ended, as an application does whose backup is being made.

    churn.py BUCKET KEYS_FILE SEED

Each version of an object is one line, its key and a number, over and over: whoever has bytes of two versions sees it. A
line of standard output for each change says what was done.
"""

import random
import sys
import time
from pathlib import Path

import boto3


def content(key: str, version: int, size: int) -> bytes:
    """About so many bytes of one version."""
    line = f"{key} {version:08}\n".encode()
    return line * (size // len(line) + 1)


def is_one_version(key: str, found: bytes) -> bool:
    line, end, _ = found.partition(b"\n")
    return line.startswith(f"{key} ".encode()) and found == (line + end) * (len(found) // (len(line) + 1))


def main() -> None:
    bucket, keys_file, seed = sys.argv[1:]
    sizes = dict(line.rsplit(" ", 1) for line in Path(keys_file).read_text().splitlines())
    s3, chance, version = boto3.client("s3"), random.Random(seed), 1
    while True:
        version += 1
        key = chance.choice(list(sizes))
        what = chance.choices(["replaced", "deleted", "added"], [8, 1, 1])[0]
        if what == "deleted":
            s3.delete_object(Bucket=bucket, Key=key)
        else:
            name = f"{key}-{version}" if what == "added" else key
            size = int(int(sizes[key]) * chance.uniform(0.9, 1.1))
            s3.put_object(Bucket=bucket, Key=name, Body=content(name, version, size))
        print(what, flush=True)
        time.sleep(chance.uniform(0, 0.01))


if __name__ == "__main__":
    main()
