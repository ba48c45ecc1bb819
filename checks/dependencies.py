"""Fails when a dependency breaks the architecture's rules.

    checks/dependencies.py

1. Pure: nothing that does I/O is linked into domain and archive, through whatever path.
2. Down only: functions, cli → aws → backup → domain, archive. Test support is a dev-dependency.
3. AWS at the edge: `aws-*` crates are named in shared/aws, functions and cli only.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

PURE = ("shared/domain", "shared/archive")
IMPURE = ("tokio", "reqwest", "hyper")
# What a member may depend on, by its folder (functions/* all alike).
BELOW = {
    "shared/domain": set(),
    "shared/archive": {"shared/domain"},
    "shared/backup": {"shared/domain", "shared/archive"},
    "shared/aws": {"shared/backup", "shared/domain", "shared/archive"},
    "shared/testing": {"shared/backup", "shared/domain", "shared/archive"},
    # Features of dependencies, no code: nobody needs to name it.
    "shared/features": set(),
    "functions": {"shared/aws", "shared/backup", "shared/domain", "shared/archive"},
    "cli": {"shared/aws", "shared/backup", "shared/domain", "shared/archive"},
}
TEST_SUPPORT = "shared/testing"
MAY_NAME_AWS = ("shared/aws", "functions", "cli")


@dataclass(frozen=True)
class Member:
    """A crate of the workspace, and the dependencies its Cargo.toml names."""

    name: str
    folder: str
    dependencies: list[dict[str, Any]]

    @property
    def layer(self) -> str:
        return "functions" if self.folder.startswith("functions/") else self.folder


def is_aws(crate: str) -> bool:
    return crate.startswith(("aws-", "aws_"))


def members(metadata: dict[str, Any]) -> list[Member]:
    root = Path(metadata["workspace_root"])
    ids = set(metadata["workspace_members"])
    return [
        Member(
            package["name"],
            Path(package["manifest_path"]).parent.relative_to(root).as_posix(),
            package["dependencies"],
        )
        for package in metadata["packages"]
        if package["id"] in ids
    ]


def problems(metadata: dict[str, Any]) -> list[str]:
    """Every rule that is broken, with the edge or the path that breaks it."""
    crates = members(metadata)
    return [*check_layers(crates), *check_aws(crates), *check_purity(metadata, crates)]


def check_layers(crates: list[Member]) -> Iterator[str]:
    layers = {crate.name: crate.layer for crate in crates}
    for crate in crates:
        if crate.layer not in BELOW:
            yield f"down only: {crate.folder} has no place in the layout; give it one in checks/dependencies.py"
            continue
        for dependency in crate.dependencies:
            target = layers.get(dependency["name"])
            if target is None or target in BELOW[crate.layer]:
                continue
            edge = f"{crate.name} → {dependency['name']}"
            if target == TEST_SUPPORT:
                if dependency["kind"] != "dev":
                    yield f"down only: {edge} must be a dev-dependency"
            else:
                yield f"down only: {edge}: {crate.layer} may not depend on {target}"


def check_aws(crates: list[Member]) -> Iterator[str]:
    for crate in crates:
        if crate.layer in MAY_NAME_AWS:
            continue
        for dependency in crate.dependencies:
            if is_aws(dependency["name"]):
                yield f"AWS at the edge: {crate.name} → {dependency['name']}: put it behind a port that shared/aws adapts"


def check_purity(metadata: dict[str, Any], crates: list[Member]) -> Iterator[str]:
    names = {package["id"]: package["name"] for package in metadata["packages"]}
    linked = {
        node["id"]: [
            edge["pkg"] for edge in node["deps"] if any(kind["kind"] != "dev" for kind in edge["dep_kinds"])
        ]
        for node in metadata["resolve"]["nodes"]
    }
    pure = {crate.name for crate in crates if crate.folder in PURE}
    for start in (package for package in metadata["workspace_members"] if names[package] in pure):
        # Breadth first: the shortest path is the one to show.
        came_from: dict[str, str | None] = {start: None}
        queue = [start]
        for package in queue:
            for dependency in linked[package]:
                if dependency not in came_from:
                    came_from[dependency] = package
                    queue.append(dependency)
        for package in queue:
            if names[package] in IMPURE or is_aws(names[package]):
                path, step = [], package
                while step is not None:
                    path.append(names[step])
                    step = came_from[step]
                yield f"pure: {' → '.join(reversed(path))}: {names[package]} does I/O"


def read_metadata() -> dict[str, Any]:
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"]
    result = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"`{' '.join(command)}` failed:\n{result.stderr.strip()}")
    return json.loads(result.stdout)


if __name__ == "__main__":
    found = problems(read_metadata())
    for problem in found:
        print(problem, file=sys.stderr)
    sys.exit(bool(found))
