"""`mariadb` and `mariadb-dump`, static, with OpenSSL: they connect to servers themselves."""

import shutil
from pathlib import Path

from postgresql import licence, version
from sources import HERE, MARIADB, OPENSSL, tarball, unpack
from toolchain import Toolchain

PROGRAMS = ("mariadb", "mariadb-dump")
# TLS 1.2 and 1.3 with what servers use, and the digests that Connector/C names; nothing that is loaded at run time.
WITHOUT = (
    "shared tests dso module engine legacy comp ssl3 dtls srp psk gost idea rc2 rc5 seed bf cast camellia aria sm2 sm3 sm4 mdc2 "
    "whirlpool ts cms ct async rfc3779 cmp autoload-config"
).split()
# How an account may have itself authenticated. None can be loaded by a static program, so each is linked in or off; the
# clear text one is what IAM tokens are sent by, over TLS.
LINKED = ("CACHING_SHA2_PASSWORD", "SHA256_PASSWORD", "CLIENT_ED25519", "MYSQL_CLEAR_PASSWORD")
OFF = ("DIALOG", "AUTH_GSSAPI_CLIENT", "ZSTD")
# Large, and of the server only.
SERVER = (
    "mysql-test/main", "mysql-test/suite", "mysql-test/lib", "storage/rocksdb", "storage/mroonga", "storage/columnstore",
    "storage/tokudb", "sql-bench", "debian",
)


def openssl(chain: Toolchain, downloads: Path) -> Path:
    """OpenSSL's two static libraries."""
    source = unpack(tarball(OPENSSL, downloads), chain.work)
    chain.run(
        source,
        "env",
        "CC=layer-cc",
        "AR=layer-ar",
        "RANLIB=layer-ranlib",
        "./Configure",
        "linux-x86_64",
        "--prefix=/usr",
        "--libdir=lib",
        # Where Amazon Linux has the certificates it trusts, should nobody name others.
        "--openssldir=/etc/pki/tls",
        *(f"no-{feature}" for feature in WITHOUT),
    )
    chain.run(source, "make", "-s", chain.jobs, "build_generated")
    chain.run(source, "make", "-s", chain.jobs, "libssl.a", "libcrypto.a")
    return source


def build(chain: Toolchain, cmake: Path, downloads: Path, layer: Path) -> str:
    """Builds the two programs into `layer`, and says their version."""
    tls = openssl(chain, downloads)
    source = unpack(tarball(MARIADB, downloads), chain.work, without=SERVER)
    trim(source)
    build_dir = chain.work / "mariadb-build"
    build_dir.mkdir()
    chain.run(
        build_dir,
        cmake,
        source,
        "-DCMAKE_POLICY_VERSION_MINIMUM=3.5",
        "-DCMAKE_C_COMPILER=layer-cc",
        "-DCMAKE_CXX_COMPILER=layer-c++",
        # Today's clang wants to be asked for the instruction by name; the code looks for it at run time.
        f"-DCMAKE_CXX_FLAGS=-I{HERE / 'readline'} -mcrc32",
        f"-DCMAKE_AR={chain.work}/toolchain/layer-ar",
        f"-DCMAKE_RANLIB={chain.work}/toolchain/layer-ranlib",
        "-DCMAKE_BUILD_TYPE=Release",
        "-DCMAKE_INSTALL_PREFIX=/opt/mariadb",
        "-DCMAKE_FIND_ROOT_PATH=/nonexistent",
        "-DWITHOUT_SERVER=ON",
        "-DWITHOUT_ABI_CHECK=ON",
        "-DWITH_UNIT_TESTS=OFF",
        "-DWITH_SYSTEMD=no",
        "-DWITH_ZLIB=bundled",
        "-DDISABLE_SHARED=ON",
        "-DSECURITY_HARDENED=OFF",
        f"-DWITH_SSL={tls}",
        f"-DOPENSSL_ROOT_DIR={tls}",
        f"-DOPENSSL_INCLUDE_DIR={tls}/include",
        f"-DOPENSSL_SSL_LIBRARY={tls}/libssl.a",
        f"-DOPENSSL_CRYPTO_LIBRARY={tls}/libcrypto.a",
        *(f"-DCLIENT_PLUGIN_{plugin}=STATIC" for plugin in LINKED),
        *(f"-DCLIENT_PLUGIN_{plugin}=OFF" for plugin in OFF),
    )
    chain.run(build_dir, "make", "-s", chain.jobs, *PROGRAMS)
    bin_dir = layer / "mariadb" / "bin"
    bin_dir.mkdir(parents=True)
    for program in PROGRAMS:
        shutil.copy(build_dir / "client" / program, bin_dir)
    shutil.copy(source / "COPYING", licence(layer, "mariadb.txt"))
    shutil.copy(source / "libmariadb/COPYING.LIB", licence(layer, "mariadb-connector-c.txt"))
    shutil.copy(tls / "LICENSE.txt", licence(layer, "openssl.txt"))
    return version(bin_dir / "mariadb-dump")


def trim(source: Path) -> None:
    """Takes out what the two programs do not need, and would have to be built or found first: readline and curses, PCRE,
    fmt, the server's thread pool."""
    change(source / "CMakeLists.txt", "CHECK_PCRE()\n", "")
    change(source / "CMakeLists.txt", "CHECK_LIBFMT()\n", "")
    change(source / "CMakeLists.txt", "ADD_SUBDIRECTORY(tpool)\n", "")
    change(source / "client/mysql.cc", "#define HAVE_READLINE\n", "")
    # Checksums by AVX-512, which today's clang does not take as it is written; two slower ways remain.
    avx512 = "#  define USE_VPCLMULQDQ __attribute__((target(TARGET)))\n"
    change(source / "mysys/crc32/crc32c_x86.cc", avx512, "")
    (source / "cmake/readline.cmake").write_text(
        "MACRO (MYSQL_CHECK_MULTIBYTE)\n  SET(HAVE_MBSTATE_T 1)\nENDMACRO()\nMACRO (MYSQL_CHECK_READLINE)\nENDMACRO()\n"
    )


def change(path: Path, before: str, after: str) -> None:
    """Replaces what a file has exactly once: another release of the source may look different."""
    text = path.read_text()
    if text.count(before) != 1:
        raise ValueError(f"{path.name} has {before.strip()!r} {text.count(before)} times, and should have it once")
    path.write_text(text.replace(before, after))
