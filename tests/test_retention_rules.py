"""`holdfast retention simulate` agrees with a second implementation of the rules, on histories with gaps."""

import json
import random
import subprocess
from datetime import date, time, timedelta

import pytest

from local.built import TRIED
from retention_rules import LADDER, Shelf

BATCHES = 10
HISTORIES = 50


def draw(seed: int) -> dict:
    """A policy, a stretch of days, days without a success, and how many successes the others have."""
    dice = random.Random(seed)
    policy = dice.choice(
        [
            (7, 4, 12),
            (dice.randint(0, 4), dice.randint(0, 3), dice.randint(0, 4)),
            # Tiers of 0, one or two of them.
            dice.choice([(0, 3, 4), (3, 0, 4), (3, 2, 0), (0, 0, 3), (0, 3, 0), (3, 0, 0)]),
        ]
    )
    if policy == (0, 0, 0):
        policy = (1, 1, 1)
    # Leap days, years of 53 weeks, and a century that is no leap year.
    first = dice.choice([date(1899, 11, 1), date(2019, 12, 1), date(2023, 11, 1), date(2026, 11, 1)])
    first += timedelta(days=dice.randint(0, 400))
    days = dice.randint(1, 500)
    gaps = []
    for _ in range(dice.choice([0, 1, 3, 8])):
        start = first + timedelta(days=dice.randint(0, days))
        gaps.append((start, start + timedelta(days=dice.choice([0, 1, 3, 10, 45, 100]))))
    return {"policy": policy, "first": first, "days": days, "gaps": gaps, "slots": dice.choice([1, 1, 1, 2, 4])}


def simulate(history: dict) -> tuple[list[str], dict]:
    command = [str(TRIED.holdfast), "retention", "simulate", "--output", "json"]
    command += ["--policy", "gfs:{}/{}/{}".format(*history["policy"])]
    command += ["--from", str(history["first"]), "--days", str(history["days"])]
    command += [word for start, end in history["gaps"] for word in ("--skip", f"{start}..{end}")]
    command += ["--slots-per-day", str(history["slots"])] if history["slots"] > 1 else []
    return command, json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def follow(history: dict) -> dict:
    """The same history by the second implementation, as the same document without the reasons."""
    shelf = Shelf(dict(zip(LADDER, history["policy"], strict=True)))
    several = history["slots"] > 1
    actions = []
    for number in range(history["days"]):
        day = history["first"] + timedelta(days=number)
        if any(start <= day <= end for start, end in history["gaps"]):
            continue
        for hour in range(0, 24, 24 // history["slots"]):
            for action in shelf.succeed((day, time(hour))):
                actions.append({"on": str(day), **action, "slot": name(action["slot"], several)})
    kept = [{"slot": name(slot, several), "label": label} for slot, label in sorted(shelf.labels.items())]
    return {"kept": kept, "actions": actions}


def name(slot, several):
    return f"{slot[0]} {slot[1]}" if several else str(slot[0])


def without_reasons(document: dict) -> dict:
    def slot(row):
        return f"{row['slot']} {row['time']}" if "time" in row else row["slot"]

    kept = [{"slot": slot(row), "label": row["label"]} for row in document["kept"]]
    actions = [
        {"on": row["on"], "slot": slot(row), "action": row["action"], "to": row.get("to")} for row in document["actions"]
    ]
    return {"kept": kept, "actions": actions}


@pytest.mark.parametrize("batch", range(BATCHES))
def test_both_do_the_same_on_every_day(batch):
    for seed in range(batch * HISTORIES, (batch + 1) * HISTORIES):
        history = draw(seed)
        command, document = simulate(history)
        assert all(row["reason"] for row in document["actions"])
        assert without_reasons(document) == follow(history), " ".join(command)


def test_the_histories_have_gaps_and_tiers_of_0():
    """What the comparison is worth: it would be little on full calendars with the default policy alone."""
    drawn = [draw(seed) for seed in range(BATCHES * HISTORIES)]
    assert sum(bool(history["gaps"]) for history in drawn) >= 300
    assert sum(0 in history["policy"] for history in drawn) >= 150
    assert sum(history["slots"] > 1 for history in drawn) >= 100
