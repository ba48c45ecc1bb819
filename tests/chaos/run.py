"""Runs seeds of the chaos suite on lanes side by side, and says what came of them.

    tests/chaos/run.py [--seeds N] [--first SEED] [--lanes N] [--seconds N]
    tests/chaos/run.py --seed SEED                  one again, with all that was drawn for it

The exit code is 1 when the auditor found anything, or a seed could not be run.
"""

import argparse
import multiprocessing
import pprint
import queue
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "demo")]

from chaos.lane import Lane, Outcome  # noqa: E402
from chaos.plan import Plan  # noqa: E402

# A lane's stack remembers every execution and log line: after so many seeds it is a new one.
SEEDS_PER_LANE = 100


def run(seeds: list[int], lanes: int, told=lambda _: None, seconds: float = float("inf")) -> list[Outcome]:
    """What came of each seed, or of those that were begun within so many seconds; `told` hears of each as it ends."""
    deadline = time.monotonic() + seconds
    spawn = multiprocessing.get_context("spawn")
    waiting, ended = spawn.Queue(), spawn.Queue()
    for seed in seeds:
        waiting.put(seed)
    workers = [spawn.Process(target=work, args=(waiting, ended)) for _ in range(min(lanes, len(seeds)))]
    for worker in workers:
        worker.start()
    outcomes = []
    try:
        while len(outcomes) < len(seeds):
            if time.monotonic() > deadline:
                while take(waiting) is not None:
                    pass
            try:
                outcome = ended.get(timeout=1)
            except queue.Empty:
                if any(worker.is_alive() for worker in workers):
                    continue
                if time.monotonic() > deadline:
                    break
                raise RuntimeError("the lanes have ended before their seeds") from None
            outcomes.append(outcome)
            told(outcome)
    except BaseException:
        for worker in workers:
            worker.terminate()
        raise
    finally:
        for worker in workers:
            worker.join(60)
    return outcomes


def work(waiting, ended) -> None:
    """One lane: takes seeds until there are no more."""
    signal.signal(signal.SIGTERM, leave)
    seed = take(waiting)
    while seed is not None:
        # A short path: sockets are made below it.
        folder = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
        try:
            with Lane(folder) as lane:
                for _ in range(SEEDS_PER_LANE):
                    if seed is None:
                        break
                    ended.put(lane.run(seed))
                    seed = take(waiting)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def leave(*_) -> None:
    """By the way out, which stops what was started."""
    sys.exit(143)


def take(waiting) -> int | None:
    try:
        return waiting.get(timeout=1)
    except queue.Empty:
        return None


def summary(outcomes: list[Outcome], seconds: float) -> str:
    """What happened, in total."""
    counts = sum((outcome.counts for outcome in outcomes), Counter())
    lines = [f"{len(outcomes)} seeds in {seconds:.0f} s, {seconds / max(1, len(outcomes)):.1f} s each"]
    lines += [f"  {count:7,}  {name}" for name, count in sorted(counts.items())]
    broken = [outcome.seed for outcome in outcomes if outcome.broken]
    found = [outcome.seed for outcome in outcomes if outcome.findings]
    lines.append(f"{sum(len(outcome.findings) for outcome in outcomes)} findings{f', of seeds {sorted(found)}' if found else ''}")
    if broken:
        lines.append(f"seeds that could not be run: {sorted(broken)}")
    return "\n".join(lines)


def tell(outcome: Outcome) -> None:
    for finding in outcome.findings:
        print(f"seed {outcome.seed}: {finding}", flush=True)
    if outcome.broken:
        print(f"seed {outcome.seed} could not be run:\n{outcome.broken}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Jobs while calls fail, connections break and workers die.")
    parser.add_argument("--seeds", type=int, default=50, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin none after so many seconds")
    parser.add_argument("--verbose", action="store_true", help="tell of each backup and restore how it ended")
    parser.add_argument("--lanes", type=int, default=4, help="how many side by side")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, leave)
    seeds = list(range(arguments.first, arguments.first + arguments.seeds))
    if arguments.seed is not None:
        seeds = [arguments.seed]
        pprint.pprint(Plan.of(arguments.seed), width=130)
    began = time.monotonic()
    outcomes = run(seeds, arguments.lanes, tell, arguments.seconds)
    if arguments.seed is not None or arguments.verbose:
        print("\n".join(f"seed {outcome.seed}: {end}" for outcome in outcomes for end in outcome.ends))
    print(summary(outcomes, time.monotonic() - began))
    return 1 if any(outcome.findings or outcome.broken for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
