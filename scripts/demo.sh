#!/usr/bin/env bash
# ./rump demo: an ordinary user's first five minutes with an image, shown step by step. Started by root it
# becomes the user nobody first; what it made is gone at the end, also when a step fails.
set -euo pipefail

say() { printf '\n== %s\n' "$*"; }
show() { printf '$ %s\n' "$*"; "$@"; }

# as_user DIR: everything that the user does, in an own folder DIR that has the programs in DIR/bin.
mounted=
as_user() {
    local dir=$1
    cd "$dir"
    PATH=$dir/bin:$PATH
    trap '[ -z "$mounted" ] || fusermount3 -uz mnt 2>/dev/null || true' EXIT

    say "a folder with some files, and an ext2 image of it, made by mke2fs ($(id -un), uid $(id -u))"
    mkdir -p sample/docs mnt
    echo 'Hello from an ext2 image.' >sample/hello.txt
    seq 1 5000 >sample/docs/numbers
    ln -s docs/numbers sample/link
    show mke2fs -q -t ext2 -E "root_owner=$(id -u):$(id -g)" -d sample disk.img 16M

    say "mounted, without being root"
    show rump_ext2fs disk.img mnt
    mounted=1
    grep " $dir/mnt " /proc/mounts

    say "listed"
    show ls -l mnt mnt/docs

    say "written into"
    show cp -a "$dir/sample/docs" mnt/copy
    show mkdir mnt/new
    echo '$ echo "written through FUSE" > mnt/new/file'
    echo 'written through FUSE' >mnt/new/file
    show mv mnt/hello.txt mnt/new/
    show ln mnt/new/file mnt/new/hard-link
    show df -h mnt

    say "unmounted: the command returns when the image is written and closed"
    show rump_umount mnt
    mounted=

    say "checked by e2fsck, and mounted again: everything is there"
    show e2fsck -fn disk.img
    show rump_ext2fs -o ro disk.img mnt
    mounted=1
    cmp mnt/copy/numbers sample/docs/numbers
    [ "$(cat mnt/new/hard-link)" = 'written through FUSE' ]
    [ "$(cat mnt/new/hello.txt)" = 'Hello from an ext2 image.' ]
    show ls -l mnt mnt/new
    show rump_umount mnt
    mounted=
}

if [ "${1-}" = --as-user ]; then
    as_user "$2"
    exit
fi

if [ ! -e /dev/fuse ]; then
    echo "rump: there is no /dev/fuse on this machine, so nothing can be mounted" >&2
    exit 1
fi
programs=$PWD/build/daemons
work=$(mktemp -d "${TMPDIR:-/tmp}/rump-demo.XXXXXX")
cleanup() {
    fusermount3 -uz "$work/mnt" 2>/dev/null || umount -l "$work/mnt" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Copies: the build may lie where another user cannot go.
mkdir "$work/bin"
cp "$programs/rump_ext2fs" "$programs/rump_umount" "$work/bin/"
cp "$0" "$work/demo.sh"
if [ "$(id -u)" = 0 ]; then
    user=nobody
    chown -R "$user:" "$work"
    setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups \
        env HOME="$work" bash "$work/demo.sh" --as-user "$work"
else
    bash "$work/demo.sh" --as-user "$work"
fi
say "done; $work is removed"
