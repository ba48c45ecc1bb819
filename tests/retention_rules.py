"""The rules of docs/retention.md in other words: what a policy does to a shelf of backups, one success after another.

Written from that page alone, to be compared with what `holdfast retention simulate` does. Slow, and meant to be read.
"""

from dataclasses import dataclass, field
from datetime import date, time

LADDER = ("daily", "weekly", "monthly")
Slot = tuple[date, time]


def period(label: str, day: date) -> tuple[int, ...]:
    """The week or the month that a backup of that day would stand for."""
    if label == "weekly":
        return tuple(day.isocalendar()[:2])
    return day.year, day.month


@dataclass
class Shelf:
    """The backups that are there, each with its label, and how many of each label the policy keeps."""

    keeps: dict[str, int]
    labels: dict[Slot, str] = field(default_factory=dict)

    def succeed(self, slot: Slot) -> list[dict]:
        """One more success; what is then done to which backup, oldest first."""
        self.labels[slot] = "daily"
        before = dict(self.labels)
        self.thin_days_that_are_over(slot)
        while any([self.leave(label) for label in LADDER]):
            pass
        return [action for slot in sorted(before) if (action := self.difference(slot, before[slot]))]

    def thin_days_that_are_over(self, newest: Slot) -> None:
        """A day counts once: of a day before that of the newest slot, only the newest daily stays."""
        for slot in self.of("daily"):
            if slot[0] < newest[0] and any(other[0] == slot[0] and other > slot for other in self.of("daily")):
                del self.labels[slot]

    def leave(self, label: str) -> bool:
        """Lets the oldest of a label go while there are more than the policy keeps; tells whether any went."""
        went = False
        while self.count(label) > self.keeps[label]:
            oldest = min(self.of(label))
            higher = self.next_above(label)
            if higher and not self.stands_for(higher, oldest[0]):
                self.labels[oldest] = higher
            elif oldest == max(self.labels):
                # The last good one stays above the count. It is the newest, so nothing else of this label is left.
                return went
            else:
                del self.labels[oldest]
            went = True
        return went

    def next_above(self, label: str) -> str | None:
        """The next label up that the policy keeps any of: a tier of 0 is skipped."""
        return next((up for up in LADDER[LADDER.index(label) + 1 :] if self.keeps[up] > 0), None)

    def stands_for(self, label: str, day: date) -> bool:
        """Whether the week, or month, of that day has a backup of this label or a higher one already."""
        ranks = LADDER[LADDER.index(label) :]
        taken = {period(label, slot[0]) for slot, other in self.labels.items() if other in ranks}
        return period(label, day) in taken

    def of(self, label: str) -> list[Slot]:
        return sorted(slot for slot, other in self.labels.items() if other == label)

    def count(self, label: str) -> int:
        return len({slot[0] for slot in self.of(label)}) if label == "daily" else len(self.of(label))

    def difference(self, slot: Slot, before: str) -> dict | None:
        """What happened to a backup since it had the label `before`, as a row to compare."""
        after = self.labels.get(slot)
        if after == before:
            return None
        return {"slot": slot, "action": "relabel", "to": after} if after else {"slot": slot, "action": "discard", "to": None}
