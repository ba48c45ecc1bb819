"""The media archive unpacked by the stock `tar`, each file checked against the archive's own manifest."""

import base64
import hashlib
import json
import os
from pathlib import Path

from awscrt.checksums import crc64nvme
from report import Failure
from stock_tools import output_of

MANIFEST = "MANIFEST.jsonl"
# Names as they are, and no quoting of what is not ASCII.
READABLE = {"LC_ALL": "C.UTF-8"}


def contents_list(archive: Path) -> str:
    """What `tar tf` prints."""
    return output_of("tar", "tf", archive, "--quoting-style=literal", env=READABLE)


def unpack(archive: Path, folder: Path) -> None:
    """`tar xf` into the empty `folder`."""
    output_of("tar", "xf", archive, "-C", folder, "--no-same-owner", env=READABLE)


def manifest_lines(folder: Path) -> list[dict]:
    """The manifest's lines after its header: files, folders, and objects left out."""
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise Failure(f"the archive has no {MANIFEST}") from error
    header, *lines = [json.loads(line) for line in text.split("\n") if line]
    if header["files"] != sum(line["type"] == "file" for line in lines):
        raise Failure(f"the header of {MANIFEST} counts {header['files']} files, and its lines do not")
    return lines


def check(folder: Path, sources: set[str]) -> int:
    """Compare the unpacked files with the manifest, and the manifest with the keys of the `sources`.

    Gives how many files were checked. A Failure names the first that is missing, added or different.
    """
    lines = manifest_lines(folder)
    files = [line for line in lines if line["type"] == "file"]
    if not files:
        raise Failure(f"{MANIFEST} names no files, so the comparison would prove nothing")
    for file in files:
        path = folder / file["member"]
        if not path.is_file():
            raise Failure(f"{file['member']} is in {MANIFEST} and not in the archive")
        if path.stat().st_size != file["size"]:
            raise Failure(f"{file['member']} has {path.stat().st_size} bytes, {MANIFEST} says {file['size']}")
        name, digest = ("SHA-256", _sha256) if "sha256" in file else ("CRC64NVME", _crc64nvme)
        if digest(path) != file.get("sha256", file.get("crc64nvme")):
            raise Failure(f"the {name} of {file['member']} differs from the one in {MANIFEST}")
    _same_names(_unpacked(folder), {file["member"] for file in files}, "the archive", MANIFEST)
    _same_names(sources, {line["key"] for line in lines if line["type"] != "skipped"}, "the bucket", MANIFEST)
    return len(files)


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _crc64nvme(path: Path) -> str:
    """What S3 says of a large file that it copied into the archive by itself."""
    checksum = 0
    with path.open("rb") as content:
        while piece := content.read(1 << 20):
            checksum = crc64nvme(piece, checksum)
    return base64.b64encode(checksum.to_bytes(8, "big")).decode()


def _unpacked(folder: Path) -> set[str]:
    names = {
        os.path.relpath(Path(parent) / name, folder) for parent, _, names in os.walk(folder) for name in names
    }
    return names - {MANIFEST}


def _same_names(first: set[str], second: set[str], first_is: str, second_is: str) -> None:
    for name in sorted(first - second):
        raise Failure(f"{name!r} is in {first_is} and not in {second_is}")
    for name in sorted(second - first):
        raise Failure(f"{name!r} is in {second_is} and not in {first_is}")
