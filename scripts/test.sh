#!/usr/bin/env bash
# ./rump test: which builds run which suites. Sourced by rump, which has configure, compile and die.

# Sanitizers of clang 14 want an address space without much randomness.
fixed_addresses() {
    if setarch "$(uname -m)" -R true 2>/dev/null; then setarch "$(uname -m)" -R "$@"; else "$@"; fi
}

# suite LABEL DIR MESON_TEST_ARGUMENT...: builds what the tests need, if need be, and runs them; adds to
# $logs and $failures.
suite() {
    local label=$1 dir=$2 names=() status=0
    shift 2
    if [ -n "$only" ]; then
        mapfile -t names < <(meson test -C "$dir" --no-rebuild --list "$@" 2>/dev/null |
            sed -E 's,^[^ ]+ / ,,' | grep -F -- "$only" | sort -u)
        [ ${#names[@]} -gt 0 ] || { echo "== $label: no test is called $only"; return 0; }
    fi
    echo "== $label"
    rm -f "$dir/meson-logs/testlog.json"
    fixed_addresses meson test -C "$dir" --num-processes "$(nproc)" --print-errorlogs \
        "$@" "${names[@]}" </dev/null 2>&1 | grep --line-buffered -vE '^(\[[0-9]+/[0-9]+\] |ninja: |Full log|$)' || status=$?
    local log=$dir/meson-logs/testlog.json
    if [ -s "$log" ]; then logs+=("$label=$log"); fi
    # meson itself may fail: a build that is broken, a test that cannot be started.
    if [ "$status" != 0 ] && ! grep -qE '"result": "(FAIL|ERROR|TIMEOUT|INTERRUPT|UNEXPECTEDPASS)"' "$log"; then
        echo "FAILED: meson test in $dir"
        failures=$((failures + 1))
    fi
}

# built DIR COMPILER OPTION...: a build that fails is one failure, the other runs go on.
built() {
    if configure "$@" && compile "$1"; then return; fi
    echo "FAILED: $1 does not build"
    failures=$((failures + 1))
    return 1
}

run_tests() {
    local plain= asan= tsan= only= failures=0 logs=() length=(--no-suite long)
    while [ $# -gt 0 ]; do
        case "$1" in
        --long) length=() ;;
        --plain) plain=1 ;;
        --asan) asan=1 ;;
        --tsan) tsan=1 ;;
        --only) [ $# -ge 2 ] || die "--only needs a name"; only=$2; shift ;;
        *) die "test: unknown option $1" ;;
        esac
        shift
    done
    [ -n "$plain$asan$tsan" ] || { plain=1; asan=1; tsan=1; }

    export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
    export ASAN_OPTIONS=strict_string_checks=1:detect_stack_use_after_return=1
    # libfuse frees the mountpoint's name only when it unmounts itself, which our daemons do.
    export LSAN_OPTIONS=suppressions=$top/scripts/lsan.supp:print_suppressions=0
    export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1

    if [ -n "$plain" ] && built build gcc; then
        suite plain build "${length[@]}" -t 2
    fi
    # This build is the one by clang, so it is also the one that analyses locks (-Wthread-safety -Werror).
    if [ -n "$asan" ] && built build-asan clang -Doptimization=1 -Db_sanitize=address,undefined -Db_lundef=false -Dfuzzers=true; then
        suite 'address and undefined behaviour' build-asan "${length[@]}" --no-suite tidy -t 4
    fi
    if [ -n "$tsan" ]; then
        # Only what these tests need is built.
        if configure build-tsan clang -Doptimization=1 -Db_sanitize=thread -Db_lundef=false; then
            suite threads build-tsan "${length[@]}" --suite parallel -t 8
        else
            failures=$((failures + 1))
        fi
    fi
    echo "== summary"
    python3 scripts/count_tests.py --failed "$failures" "${logs[@]}"
}
