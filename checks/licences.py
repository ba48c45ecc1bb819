"""Fails when a crate that is linked into Holdfast has a licence that nobody has agreed to."""

import json
import subprocess
import sys

from license_expression import get_spdx_licensing

# Permissive licences that MIT OR Apache-2.0 can be distributed together with.
ALLOWED = {
    "MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Zlib", "0BSD", "Unicode-3.0", "CC0-1.0",
    "CDLA-Permissive-2.0", "OpenSSL", "BSL-1.0", "Unlicense", "MIT-0", "MPL-2.0", "Apache-2.0 WITH LLVM-exception",
}


def refused(metadata: dict) -> list[str]:
    """One line for each package whose licence expression cannot be met by the allowed licences."""
    licensing = get_spdx_licensing()
    allowed = {licensing.parse(name): licensing.TRUE for name in ALLOWED}
    complaints = []
    for package in metadata["packages"]:
        # Crates of before 2018 write `MIT/Apache-2.0`, which means OR.
        text = (package["license"] or "").replace("/", " OR ")
        if not text:
            complaints.append(f"{package['name']} {package['version']}: states no licence")
            continue
        met = licensing.parse(text).subs(allowed).simplify()
        if met != licensing.TRUE:
            complaints.append(f"{package['name']} {package['version']}: {text} is not among the licences agreed to")
    return complaints


def main() -> int:
    metadata = json.loads(
        subprocess.run(
            ["cargo", "metadata", "--format-version=1", "--locked", "--filter-platform=x86_64-unknown-linux-gnu"],
            check=True, capture_output=True,
        ).stdout
    )
    complaints = refused(metadata)
    for complaint in complaints:
        print(f"licences: {complaint}", file=sys.stderr)
    if not complaints:
        print(f"licences: {len(metadata['packages'])} crates, all under licences agreed to")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
