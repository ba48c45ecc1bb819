"""The pictures in docs/ are what the command in the README draws, and what it draws is SVG."""

import os
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from local.built import TRIED

ROOT = Path(__file__).resolve().parent.parent
SVG = "{http://www.w3.org/2000/svg}"
YEAR = "retention simulate --policy gfs:7/4/12 --from 2025-01-01 --days 420"


def holdfast(line: str, **options):
    return subprocess.run([TRIED.holdfast, *line.split()], capture_output=True, text=True, **options)


def test_the_year_in_the_docs_is_what_the_command_in_the_readme_draws():
    picture = "docs/pictures/retention-year.svg"
    assert f"holdfast {YEAR} --svg {picture}" in (ROOT / "README.md").read_text()
    assert f"({picture})" in (ROOT / "README.md").read_text()
    drawn = holdfast(f"{YEAR} --svg -")
    assert drawn.returncode == 0, drawn.stderr
    assert drawn.stdout == (ROOT / picture).read_text(), f"draw it again: holdfast {YEAR} --svg {picture}"


@pytest.mark.parametrize("line", [YEAR, "retention simulate --policy gfs:0/0/3 --from 2024-01-01 --days 1", f"{YEAR} --slots-per-day 4"])
def test_it_is_well_formed_and_says_what_it_shows(line):
    root = ElementTree.fromstring(holdfast(f"{line} --svg -").stdout)
    assert root.tag == f"{SVG}svg" and root.get("role") == "img"
    ids = {element.get("id"): element for element in root.iter() if element.get("id")}
    assert [ids[name].tag for name in root.get("aria-labelledby").split()] == [f"{SVG}title", f"{SVG}desc"]
    assert "gfs:" in ids["title"].text and "monthly" in ids["description"].text
    # Every coloured mark has a letter: nothing is said by colour alone.
    marks = [group for group in root.iter(f"{SVG}g")]
    assert marks and all(group.find(f"{SVG}text").text in {"D", "W", "M"} for group in marks)


def test_as_many_marks_as_are_kept():
    root = ElementTree.fromstring(holdfast(f"{YEAR} --svg -").stdout)
    tooltips = [group.find(f"{SVG}title").text for group in root.iter(f"{SVG}g") if group.find(f"{SVG}title") is not None]
    assert [sum(tip.endswith(label) for tip in tooltips) for label in ("daily", "weekly", "monthly")] == [7, 4, 12]


def test_a_file_that_cannot_be_written_is_said_by_name_and_leaves_nothing(tmp_path):
    said = holdfast(f"{YEAR} --svg {tmp_path}/no/year.svg")
    assert said.returncode == 1
    assert f"{tmp_path}/no/year.svg cannot be written" in said.stderr and "what to do" in said.stderr
    assert os.listdir(tmp_path) == []


def test_a_region_without_prices_costs_nothing_known():
    said = holdfast(f"{YEAR} --bytes 2GiB --region mars-north-1")
    assert said.returncode == 2 and said.stdout == ""
    assert "no price known for region mars-north-1" in said.stderr
