"""What the demo prints: short headings, plain tables, and one clear line when something is wrong."""

import os
import sys
from collections.abc import Iterable, Sequence


class Failure(Exception):
    """Something is not as it must be; the message says what, and what to do."""


def heading(text: str) -> None:
    """Start a part."""
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() and "NO_COLOR" not in os.environ else ("", "")
    print(f"\n{bold}== {text}{plain}", flush=True)


def line(text: str = "") -> None:
    """One line of a part."""
    print(f"   {text}".rstrip(), flush=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Rows under their columns; those named in `right` are numbers."""
    rows = [tuple(columns), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, tuple("-" * width for width in widths))
    for row in rows:
        cells = [
            cell.rjust(width) if name in right else cell.ljust(width)
            for cell, width, name in zip(row, widths, columns, strict=True)
        ]
        line("  ".join(cells))


def first_lines(text: str, count: int) -> None:
    """The beginning of a program's output, and how much more there is."""
    lines = text.splitlines()
    for entry in lines[:count]:
        line(entry if len(entry) <= 110 else entry[:107] + "…")
    if len(lines) > count:
        line(f"… and {len(lines) - count} more")


def size(count: int) -> str:
    """Bytes for people, in powers of 1,024."""
    if count < 1024:
        return f"{count} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1024:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} TiB"
