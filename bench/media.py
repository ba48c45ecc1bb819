#!/usr/bin/env python3
"""A media archive, beside the tools one would use without Holdfast: `aws s3 sync`, `tar` and `aws s3 cp`.

    bench/media.py [--scale 0.1] [--runs 3] [--latency 20] [--sets small,middling,large,many] [--alone | --restore]

Each contestant archives the same bucket in turn, on one S3 endpoint that computes its objects (shared/aws/examples/synthetic_s3)
and answers each request so many milliseconds later, as S3 does. Prints the medians: seconds by the wall and of CPU, the most
memory, requests by kind, bytes through the program, and how its time compares with the model: to list, page after page, and
then whichever takes longer, the bytes at 75 MB/s or the requests at 3,500 a second. The model's network is not there on
loopback, so that a ratio below 1 says only that nothing else was in the way.

With `--restore` it is the way back that is timed: the files of such an archive into an empty bucket, beside `aws s3 cp --recursive`
of a folder that they were unpacked into before.

`--scale` makes the sets smaller by leaving objects out. The rivals write the files to a temporary folder first: what does not
fit there or in memory is said and left out. awscli is put into `.tools/awscli`, in the version that is pinned here.
"""

import argparse
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from s3_endpoint import AWS, AWSCLI, EXAMPLES, Endpoint, install_awscli

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
# Objects, and the size of each.
SETS = {
    "small": (40_000, 16 * KIB),
    "middling": (3_000, 5 * MIB),
    "large": (20, 512 * MIB),
    "many": (1_000_000, KIB),
}
LISTED_AT_ONCE = 1000
BYTES_A_SECOND, REQUESTS_A_SECOND = 75_000_000, 3_500
# What the endpoint keeps of a tar, less than which it has to be to be restored.
KEPT_TAR = 2 * GIB - 64 * MIB
# The folder of the files and the tar beside it, with room to spare.
ON_DISK = 2.2


class BenchError(Exception):
    """Why there is no measurement."""


@dataclass
class Run:
    """What one run came to."""

    wall: float
    cpu: float
    peak: int
    requests: dict[str, int] = field(default_factory=dict)
    received: int = 0
    sent: int = 0
    said: dict[str, str] = field(default_factory=dict)


def measured(commands: list[list[str]], endpoint: Endpoint, folder: Path) -> Run:
    """Runs commands one after the other."""
    endpoint.counts()
    run = Run(0.0, 0.0, 0)
    for command in commands:
        with open(folder / "said", "w+") as said:
            began = time.monotonic()
            process = subprocess.Popen(command, env=endpoint.environment, cwd=folder, stdout=said, stderr=subprocess.STDOUT)
            try:
                _, status, used = os.wait4(process.pid, 0)
            except BaseException:
                process.kill()
                process.wait()
                raise
            run.wall += time.monotonic() - began
            run.cpu += used.ru_utime + used.ru_stime
            run.peak = max(run.peak, used.ru_maxrss * KIB)
            said.seek(0)
            text = said.read()
        if os.waitstatus_to_exitcode(status):
            raise BenchError(f"`{' '.join(map(str, command[:4]))} …` failed:\n{text[-2000:]}")
        run.said |= dict(line.split(maxsplit=1) for line in text.splitlines() if re.fullmatch(r"[a-z_]+ \S+", line))
    counts = endpoint.counts()
    run.sent, run.received = counts.pop("bytes_received", 0), counts.pop("bytes_sent", 0)
    run.requests = counts
    return run


def ours(bucket: str, endpoint: Endpoint, folder: Path, seconds: int = 300) -> Run:
    return measured([[str(EXAMPLES / "archive_media"), bucket, "backups", str(seconds)]], endpoint, folder)


def rival(bucket: str, endpoint: Endpoint, folder: Path) -> Run:
    """The files, a tar of them, and its upload."""
    files, archive = folder / "files", folder / "media.tar"
    try:
        return measured(
            [
                [str(AWS), "s3", "sync", f"s3://{bucket}/", str(files), "--only-show-errors"],
                ["tar", "-cf", str(archive), "-C", str(files), "."],
                [str(AWS), "s3", "cp", str(archive), "s3://backups/media.tar", "--only-show-errors"],
            ],
            endpoint,
            folder,
        )
    finally:
        shutil.rmtree(files, ignore_errors=True)
        archive.unlink(missing_ok=True)


def model(count: int, run: Run, latency: int) -> float:
    """How long it takes at the least: to list, and then bytes or requests."""
    pages = -(-count // LISTED_AT_ONCE)
    requests = sum(run.requests.values())
    return pages * latency / 1000 + max(max(run.received, run.sent) / BYTES_A_SECOND, requests / REQUESTS_A_SECOND)


def median(runs: list[Run]) -> Run:
    wall = statistics.median(run.wall for run in runs)
    nearest = min(runs, key=lambda run: abs(run.wall - wall))
    return Run(
        wall,
        statistics.median(run.cpu for run in runs),
        max(run.peak for run in runs),
        nearest.requests,
        nearest.received,
        nearest.sent,
        nearest.said,
    )


def report(name: str, count: int, run: Run, latency: int) -> None:
    ratio = run.wall / model(count, run, latency)
    through = (run.received + run.sent) / MIB
    print(
        f"  {name:<24}{run.wall:>9.1f}{run.cpu:>9.1f}{run.peak / MIB:>9.0f}{through:>12,.0f}{sum(run.requests.values()):>11,}"
        f"{ratio:>8.2f}"
    )
    print("    " + ", ".join(f"{kind} {number:,}" for kind, number in sorted(run.requests.items())))
    if "page_seconds" in run.said:
        print(f"    a page of its contents: {run.said['page_seconds']} s; one file of it: {run.said['file_seconds']} s")


def restored(bucket: str, endpoint: Endpoint, folder: Path) -> float:
    """Seconds, from the request to the end of the restore."""
    run = measured([[str(EXAMPLES / "archive_media"), bucket, "backups", "300", "restored"]], endpoint, folder)
    print(f"    peak of archive and restore: {run.peak / MIB:.0f} MiB")
    return float(run.said["restore_seconds"])


def copied(endpoint: Endpoint, folder: Path) -> float:
    copy = [str(AWS), "s3", "cp", str(folder / "files"), "s3://restored/media/", "--recursive", "--only-show-errors"]
    return measured([copy], endpoint, folder).wall


def compare_restores(wanted: argparse.Namespace, folder: Path) -> None:
    with Endpoint(wanted.latency) as endpoint:
        for name in wanted.sets.split(","):
            whole, size = SETS[name]
            count = max(1, int(whole * wanted.scale))
            print(f"\n{name}: {count:,} objects of {size:,} bytes, {wanted.latency} ms a request, medians of {wanted.runs}")
            if count * size > KEPT_TAR:
                print(f"  left out: the endpoint keeps {KEPT_TAR // MIB:,} MiB of a tar (--scale {KEPT_TAR / whole / size:.3f})")
                continue
            bucket, files = f"set-{count}-{size}", folder / "files"
            measured([[str(AWS), "s3", "sync", f"s3://{bucket}/media/", str(files), "--only-show-errors"]], endpoint, folder)
            runs = [(restored(bucket, endpoint, folder), copied(endpoint, folder)) for _ in range(wanted.runs)]
            ours, theirs = (statistics.median(seconds) for seconds in zip(*runs, strict=True))
            print(f"  holdfast {ours:.1f} s, aws s3 cp --recursive {theirs:.1f} s: {theirs / ours:.1f} times as fast")
            shutil.rmtree(files)
            sys.stdout.flush()


def room_for(folder: Path, count: int, size: int) -> str | None:
    needed = int(count * max(size, 4 * KIB) * ON_DISK)
    free = shutil.disk_usage(folder).free - 15 * GIB
    if needed > free:
        return f"left out: its files and their tar need {needed // MIB:,} MiB of disk"
    return None


def compare(wanted: argparse.Namespace, folder: Path) -> None:
    with Endpoint(wanted.latency) as endpoint:
        for name in wanted.sets.split(","):
            whole, size = SETS[name]
            count = max(1, int(whole * wanted.scale))
            scaled = "" if count == whole else f" (of {whole:,}: --scale {wanted.scale:g})"
            print(f"\n{name}: {count:,} objects of {size:,} bytes{scaled}, {wanted.latency} ms a request, medians of {wanted.runs}")
            print(f"  {'':<24}{'wall s':>9}{'CPU s':>9}{'peak MiB':>9}{'through MiB':>12}{'requests':>11}{'/model':>8}")
            bucket = f"set-{count}-{size}"
            refused = room_for(folder, count, size)
            contestants = {"holdfast": ours} if refused or wanted.alone else {"holdfast": ours, "sync, tar, cp": rival}
            runs: dict[str, list[Run]] = {contestant: [] for contestant in contestants}
            for _ in range(wanted.runs):
                for contestant, archive in contestants.items():
                    runs[contestant].append(archive(bucket, endpoint, folder))
            medians = {contestant: median(all_of_them) for contestant, all_of_them in runs.items()}
            for contestant, run in medians.items():
                report(contestant, count, run, wanted.latency)
            if len(medians) > 1:
                print(f"  holdfast is {medians['sync, tar, cp'].wall / medians['holdfast'].wall:.1f} times as fast")
            if refused and not wanted.alone:
                print(f"  {'sync, tar, cp':<24}{refused}")
            sys.stdout.flush()


def prepare() -> None:
    for program in ("synthetic_s3", "archive_media"):
        if not (EXAMPLES / program).exists():
            raise BenchError(f"{EXAMPLES / program} is missing: run `make bench-media`")
    install_awscli()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="which part of each set's objects")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--latency", type=int, default=20, help="milliseconds before each answer")
    parser.add_argument("--sets", default=",".join(SETS), help=f"of {', '.join(SETS)}")
    parser.add_argument("--alone", action="store_true", help="without the rivals")
    parser.add_argument("--restore", action="store_true", help="time the way back")
    wanted = parser.parse_args()
    if unknown := set(wanted.sets.split(",")) - set(SETS):
        parser.error(f"no such set: {', '.join(sorted(unknown))}")
    folder = Path(tempfile.mkdtemp(prefix="holdfast-bench-"))
    # Being told to end cleans up as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MIB
    flags = " --alone" * wanted.alone + " --restore" * wanted.restore
    print(f"$ bench/media.py --scale {wanted.scale:g} --runs {wanted.runs} --latency {wanted.latency} --sets {wanted.sets}{flags}")
    print(f"{os.cpu_count()} cores and {memory} MiB of memory, shared with the endpoint; {AWSCLI}")
    try:
        prepare()
        (compare_restores if wanted.restore else compare)(wanted, folder)
        return 0
    except (BenchError, subprocess.CalledProcessError) as error:
        print(f"bench failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
