#!/usr/bin/env bash
# What RocksDB's bindings need and a fresh machine lacks: libclang. Installed where the package manager is known, else
# asked for by name, before anything compiles. The demo does not need it.
set -euo pipefail

has_libclang() {
    [[ -n ${LIBCLANG_PATH:-} ]] && return 0
    local folder
    for folder in /usr/lib/llvm-*/lib /usr/lib /usr/lib64 /usr/lib/*-linux-gnu /usr/local/lib /opt/homebrew/opt/llvm/lib \
        /Library/Developer/CommandLineTools/usr/lib; do
        # Not libclang-cpp, which is another library, and often there alone.
        compgen -G "$folder/libclang.so*" >/dev/null && return 0
        compgen -G "$folder/libclang-[0-9]*.so*" >/dev/null && return 0
        compgen -G "$folder/libclang.dylib" >/dev/null && return 0
    done
    return 1
}

as_root() {
    if [[ $(id -u) == 0 ]]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else return 1; fi
}

install() {
    if command -v apt-get >/dev/null; then
        as_root apt-get install -y --no-install-recommends libclang-dev ||
            { as_root apt-get update && as_root apt-get install -y --no-install-recommends libclang-dev; }
    elif command -v dnf >/dev/null; then
        as_root dnf install -y clang-devel
    elif command -v apk >/dev/null; then
        as_root apk add clang-dev
    elif command -v pacman >/dev/null; then
        as_root pacman -S --noconfirm clang
    elif command -v brew >/dev/null; then
        brew install llvm
    else
        return 1
    fi
}

# `setup.sh redis`: the peer of the control store's rows, which stand without it where it cannot be had.
if [[ ${1:-} == redis ]]; then
    command -v redis-server >/dev/null && exit 0
    command -v apt-get >/dev/null && as_root apt-get install -y --no-install-recommends redis-server >/dev/null 2>&1 ||
        echo "redis-server is not installed: the control store is measured without it"
    exit 0
fi

# `setup.sh network`: what tests make networks with; they pass themselves over by name where it cannot be had.
if [[ ${1:-} == network ]]; then
    command -v ip >/dev/null && command -v nft >/dev/null && command -v tc >/dev/null && exit 0
    command -v apt-get >/dev/null && as_root apt-get install -y --no-install-recommends iproute2 nftables >/dev/null 2>&1 ||
        echo "ip, nft or tc is not installed (Debian: iproute2, nftables): tests across hosts are passed over"
    exit 0
fi

has_libclang && exit 0
echo "installing libclang, which the bindings of RocksDB are made with"
if ! install || ! has_libclang; then
    echo "libclang is missing: install it (Debian: libclang-dev; Fedora: clang-devel), or set LIBCLANG_PATH to its folder" >&2
    exit 1
fi
