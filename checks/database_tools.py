#!/usr/bin/env python3
"""Says whether the layer that is deployed has database tools, without which no database can be backed up.

    checks/database_tools.py LAYER
"""

import os
import sys
from pathlib import Path


def problem(layer: Path) -> str | None:
    """What is missing, and what to do about it. Nothing if `DATABASE_TOOLS=none` says that there need be none."""
    empty = layer / "EMPTY.txt"
    if not empty.exists() or os.environ.get("DATABASE_TOOLS") == "none":
        return None
    return (
        f"{empty.read_text().strip()}: a stack deployed with this could back up no database. Build on Debian, x86_64, or see "
        "docs/database-tools.md; to deploy without them, or with a layer of your own, set DATABASE_TOOLS=none"
    )


def main() -> int:
    if found := problem(Path(sys.argv[1])):
        print(found, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
