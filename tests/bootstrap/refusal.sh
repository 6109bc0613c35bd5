#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# refusal.sh <source folder>: cmake/bootstrap on a machine without the packages and without root. The machine is made up:
# a PATH with a few tools, an id that says 1000, an apt-get that must not run, and a compiler that finds no header.
set -eu
bootstrap=$1/cmake/bootstrap
machine=$(mktemp -d)
trap 'rm -rf "$machine"' EXIT
for tool in sh cat dirname sed; do ln -s "$(command -v $tool)" "$machine/$tool"; done
tool() { printf '#!/bin/sh\n%s\n' "$2" >"$machine/$1" && chmod +x "$machine/$1"; }
tool id 'echo 1000'
tool apt-get 'echo "apt-get was run" >&2; exit 9'
tool c++ 'exit 1'

fail() {
  printf 'FAILED: %s\n%s\n' "$1" "$out"
  exit 1
}
expect() { case $out in *"$1"*) ;; *) fail "no \"$1\" in" ;; esac }
refuse() { case $out in *"$1"*) fail "\"$1\" in" ;; *) ;; esac }
run() {
  code=0
  out=$(env -i PATH="$machine" "$@" 2>&1) || code=$?
}

run "$bootstrap" test
[ "$code" = 1 ] || fail "exit code $code, wanted 1"
expect "as root, run"
for package in g++ cmake ninja-build libeigen3-dev nlohmann-json3-dev libcli11-dev libsentencepiece-dev doctest-dev \
  libbenchmark-dev; do expect "$package"; done
refuse "apt-get was run"

run "$bootstrap" demo
[ "$code" = 1 ] || fail "exit code $code, wanted 1"
expect "libeigen3-dev"
refuse "doctest-dev"
refuse "libbenchmark-dev"

# With sudo present it is used, and what still lacks afterwards is named.
tool sudo 'echo "sudo $*" >&2'
run "$bootstrap" demo
expect "sudo env DEBIAN_FRONTEND=noninteractive apt-get install"
expect "still missing"
[ "$code" = 1 ] || fail "exit code $code, wanted 1"
run KVSHARER_NO_INSTALL=1 "$bootstrap" demo
refuse "sudo env"
expect "as root, run"

# Without a package manager that it knows.
rm "$machine/apt-get"
run "$bootstrap" demo
[ "$code" = 1 ] || fail "exit code $code, wanted 1"
expect "no package manager"

run "$bootstrap"
[ "$code" = 2 ] || fail "exit code $code, wanted 2"
expect "usage:"
run "$bootstrap" --help
[ "$code" = 0 ] || fail "exit code $code, wanted 0"
