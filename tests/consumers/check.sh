#!/usr/bin/env bash
# check.sh BUILD CASE: one way of using graft from outside, from a tree installed from the build folder BUILD.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$1 name=$2
trees=$build/consumers
cxx=$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' "$build/CMakeCache.txt")

fail() {
  echo "check.sh: $*" >&2
  exit 1
}

# A consumer's compile line may carry what it asked for itself, the include folder and the standard; nothing else.
only_include_and_standard() {
  local line
  line=$(grep -o '"command": .*main\.cpp' "$1/compile_commands.json")
  line=$(tr ' ' '\n' <<<"$line" | grep -E '^-' | grep -vE '^-(I|isystem|std=|o$|c$|fdiagnostics-color)' || true)
  [ -z "$line" ] || fail "flags leak into a consumer: $line"
}

install_tree() {  # static, or a component's name
  rm -rf "${trees:?}/$1"
  cmake --install "$build" --prefix "$trees/$1" "${@:2}" >/dev/null
}

find_package() {
  cmake -S "$here/find_package" -B "$trees/find_package_$1" --fresh -DCMAKE_PREFIX_PATH="$trees/$1" \
    -DCMAKE_CXX_COMPILER="$cxx" >/dev/null
  cmake --build "$trees/find_package_$1"
  "$trees/find_package_$1/consumer"
  only_include_and_standard "$trees/find_package_$1"
}

pkg_config() {
  local flags out=$trees/pkg_config_$1
  export PKG_CONFIG_PATH
  PKG_CONFIG_PATH=$(dirname "$(find "$trees/$1" -name graft.pc)")
  flags=$(pkg-config --cflags --libs "${@:2}" graft)
  # shellcheck disable=SC2086
  "$cxx" -std=c++20 -pedantic -Wall -Wextra -Werror "$here/main.cpp" -o "$out" $flags
  LD_LIBRARY_PATH=$(dirname "$(find "$trees/$1" -name 'libgraft.*' | head -n 1)") "$out"
}

case $name in
  install)
    install_tree static
    install_tree shared --component graft_shared
    cmake --install "$build" --prefix "$trees/shared" --component graft_files >/dev/null
    ;;
  find_package_static) find_package static ;;
  find_package_shared) find_package shared ;;
  pkg_config_static) pkg_config static --static ;;
  pkg_config_shared) pkg_config shared ;;
  add_subdirectory)
    # The whole library once more, without optimisation: what counts is that it builds inside a project and leaks nothing.
    tree=$trees/add_subdirectory
    cmake -S "$here/add_subdirectory" -B "$tree" -DGRAFT_SOURCE="$here/../.." -DCMAKE_BUILD_TYPE=Debug \
      -DCMAKE_CXX_FLAGS_DEBUG=-O0 -DGRAFT_CCACHE=ON -DCMAKE_CXX_COMPILER="$cxx" >/dev/null
    cmake --build "$tree" -j "$(nproc)" >/dev/null
    "$tree/consumer"
    sed -i 's/ -O0//' "$tree/compile_commands.json"
    only_include_and_standard "$tree"
    targets=$(cmake --build "$tree" --target help)
    ! grep -E 'graft_tests|_test\b|overhead|operate' <<<"$targets" || fail "a consumer gets the project's own programs"
    ;;
  public_headers)
    # All at once, pedantically; and nothing of the libraries that graft itself uses comes along.
    (cd "$trees/static/include" && find . -name '*.h' | sed 's|^\./\(.*\)|#include "\1"|') >"$trees/all.cpp"
    "$cxx" -std=c++20 -pedantic -Wall -Wextra -Werror -fsyntax-only -MD -MF "$trees/all.d" -I "$trees/static/include" \
      "$trees/all.cpp"
    ! sed 's|[^ ]*/include/graft/[^ ]*||g' "$trees/all.d" | grep -iE 'eigen|nlohmann|CLI/|cuda|protobuf|gtest|zlib' || fail "a public header includes these"
    ;;
  exported_targets)
    for file in "$trees"/*/lib*/cmake/graft/*.cmake "$trees"/*/lib*/*/cmake/graft/*.cmake; do
      [ -f "$file" ] || continue
      ! grep -nHiE 'eigen|nlohmann|cli11|gtest|benchmark|zlib|COMPILE_OPTIONS|COMPILE_DEFINITIONS|LINK_OPTIONS' "$file" ||
        fail "this leaks into every consumer"
      ! grep -nHF "$here" "$file" || fail "the installed package names its source folder"
    done
    ;;
  command)
    program=$trees/static/bin/graft
    [ -x "$program" ] || fail "the command graft is not installed"
    "$program" info --json | grep -q '"isa"' || fail "the installed command does not say what this machine is"
    ;;
  size)
    library=$(find "$trees/static" -name libgraft.a)
    strip --strip-unneeded -o "$trees/stripped.a" "$library"
    bytes=$(stat -c %s "$trees/stripped.a")
    echo "stripped static library: $bytes bytes"
    [ "$bytes" -lt 10000000 ] || fail "more than 10 MB"
    ;;
  isa)
    # A function compiled for AVX2 or AVX-512 must not be what the linker takes for other files.
    shared=$(nm -C --defined-only -A "$(find "$trees/static" -name libgraft.a)" 2>/dev/null |
      grep -E '\.avx(2|512)\.cpp\.o:' | grep -E ' [WVu] ' || true)
    [ -z "$shared" ] || fail "linkable from other files, compiled for a wide instruction set: $shared"
    ;;
  *) fail "no case \"$name\"" ;;
esac
