#!/usr/bin/env bash
# Sees that this Debian 12 machine has what build, tests, bench and demo need. Run again, it finds nothing
# to do and is quick. As an ordinary user it only says what is missing.
set -euo pipefail

packages=(
    # build
    g++ clang meson ninja-build pkg-config ccache mold git python3
    libfuse3-dev libfmt-dev libspdlog-dev libcli11-dev libblkid-dev libutf8proc-dev libisal-dev liburing-dev
    nlohmann-json3-dev libarchive-dev zlib1g-dev
    # tests: frameworks, then the tools that make, read and check images
    catch2 librapidcheck-dev libbenchmark-dev clang-format-14 mandoc fuse3
    e2fsprogs dosfstools mtools exfatprogs makefs
    xz-utils attr acl util-linux fdisk mount strace stress-ng
    # bench: what we are measured against
    fuse2fs
)

missing=()
mapfile -t missing < <(
    dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${packages[@]}" 2>/dev/null |
        awk '$2 == "installed" {print $1}' | sort -u |
        comm -13 - <(printf '%s\n' "${packages[@]}" | sort -u)
)

if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ]; then
        echo "== installing ${missing[*]}"
        export DEBIAN_FRONTEND=noninteractive
        apt-get -qq update
        apt-get -qq -o Dpkg::Use-Pty=0 install --no-install-recommends "${missing[@]}" >/dev/null
    else
        echo "rump: packages are missing; run this, then try again:" >&2
        echo "    sudo apt-get install --no-install-recommends ${missing[*]}" >&2
        exit 1
    fi
fi

# Bare virtual machines have /dev/fuse as the kernel makes it, 0600. Distributions ship a udev rule that
# opens it; the right to mount is decided by fusermount3.
if [ ! -e /dev/fuse ]; then
    [ "$(id -u)" = 0 ] && modprobe fuse 2>/dev/null || true
    [ -e /dev/fuse ] || echo "rump: there is no /dev/fuse here: what needs a mount is skipped"
fi
if [ -e /dev/fuse ] && [ "$(stat -c %a /dev/fuse)" != 666 ]; then
    if [ "$(id -u)" = 0 ]; then
        chmod 0666 /dev/fuse
        echo "== opened /dev/fuse to all users (mode 0666), as distributions do"
    elif [ ! -w /dev/fuse ]; then
        echo "rump: /dev/fuse is closed to you: what needs a mount is skipped; to open it:"
        echo "    sudo chmod 0666 /dev/fuse"
    fi
fi
