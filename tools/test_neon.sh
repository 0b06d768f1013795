#!/usr/bin/env bash
# The tests of the kernels on aarch64, run by an emulator: NEON must give the same bits as plain Rust, too.
#
#     tools/test_neon.sh             fails where something it needs is missing
#     tools/test_neon.sh --optional  says so and succeeds
#
# Nothing is installed here. What it needs, on Debian:
#
#     rustup target add aarch64-unknown-linux-gnu
#     apt-get install --no-install-recommends qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross
set -euo pipefail
cd "$(dirname "$0")/.."

target=aarch64-unknown-linux-gnu
missing=()
[ -d "$(rustc --print sysroot)/lib/rustlib/$target" ] || missing+=("the rust target $target")
command -v aarch64-linux-gnu-gcc >/dev/null || missing+=(aarch64-linux-gnu-gcc)
command -v qemu-aarch64 >/dev/null || missing+=(qemu-aarch64)
[ -d /usr/aarch64-linux-gnu/lib ] || missing+=(/usr/aarch64-linux-gnu/lib)
if [ ${#missing[@]} -gt 0 ]; then
    printf 'test_neon: missing: %s\n' "${missing[@]}" >&2
    if [ "${1:-}" = --optional ]; then
        echo 'test_neon: NEON IS NOT TESTED' >&2
        exit 0
    fi
    exit 1
fi

export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER='qemu-aarch64 -L /usr/aarch64-linux-gnu'
# Named, so that the tests fail where the level is not found instead of testing plain Rust against itself.
export RUVECTOR_SIMD=neon
cargo test --target "$target" -p ruvector-core --lib -- kernel:: ex_layout::
