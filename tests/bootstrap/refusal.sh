#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# refusal.sh <source folder> <compiler>: cmake/bootstrap on a machine without the packages and without root. The machine is
# made up: a PATH with a few tools, an id that says 1000, an apt-get that must not run, and a compiler that finds no header.
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
expect "not root, and no sudo"
expect "run as root"
expect "apt-get update && apt-get install"
expect_tools() {
  for package in g++ cmake ninja-build libeigen3-dev nlohmann-json3-dev libcli11-dev libsentencepiece-dev libpcre2-dev \
    libutf8proc-dev doctest-dev libbenchmark-dev; do expect "$package"; done
}
expect_tools
refuse "apt-get was run"

run "$bootstrap" demo
[ "$code" = 1 ] || fail "exit code $code, wanted 1"
expect "libeigen3-dev"
refuse "doctest-dev"
refuse "libbenchmark-dev"

run "$bootstrap" docs
[ "$code" = 1 ] || fail "exit code $code, wanted 1"
expect " doxygen python3"
refuse "libeigen3-dev"
run "$bootstrap" release-check version
[ "$code" = 1 ] || fail "exit code $code, wanted 1"
expect_tools # it builds and runs all tests
refuse "doxygen"

# With sudo present it is used, and what still lacks afterwards is named.
tool sudo 'echo "sudo $*" >&2'
run "$bootstrap" demo
expect "sudo env DEBIAN_FRONTEND=noninteractive apt-get install"
expect "still missing after"
expect "GCC 12, Clang 14"
[ "$code" = 1 ] || fail "exit code $code, wanted 1"
run KVSHARER_NO_INSTALL=1 "$bootstrap" demo
refuse "sudo env"
expect "KVSHARER_NO_INSTALL is set"

# A compiler that is too old is missing; a newer one beside it serves (this one finds every header).
rm "$machine/sudo"
tool c++ "exec $2 -U__GNUC__ -D__GNUC__=11 -U__clang_major__ -D__clang_major__=13 \"\$@\""
run "$bootstrap" demo
expect "missing: compiler cmake"
tool g++-13 'exit 0'
run "$bootstrap" demo
expect "missing: cmake ninja
"
run CXX=c++ "$bootstrap" demo
expect "missing: compiler cmake"

# A CMake that is too old to read the presets.
tool ninja 'exit 0'
tool cmake 'echo "cmake version 3.22.1"'
run "$bootstrap" demo
[ "$code" = 1 ] || fail "exit code $code, wanted 1"
expect "CMake 3.22 is too old: 3.25"

# Without a package manager that it knows.
rm "$machine/apt-get" "$machine/cmake" "$machine/g++-13"
run "$bootstrap" demo
[ "$code" = 1 ] || fail "exit code $code, wanted 1"
expect "no package manager"
expect "GCC 12, Clang 14"
expect "CMake 3.25"

run "$bootstrap"
[ "$code" = 2 ] || fail "exit code $code, wanted 2"
expect "usage:"
run "$bootstrap" --help
[ "$code" = 0 ] || fail "exit code $code, wanted 0"
