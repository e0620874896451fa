#!/usr/bin/env bash
# ./rump test: which builds run which suites. Sourced by rump, which has configure, compile and die.

# Sanitizers of clang 14 want an address space without much randomness.
fixed_addresses() {
    if setarch "$(uname -m)" -R true 2>/dev/null; then setarch "$(uname -m)" -R "$@"; else "$@"; fi
}

# suite LABEL DIR MESON_TEST_ARGUMENT...: runs tests that are built; adds to $logs and $failures.
suite() {
    local label=$1 dir=$2 names=() status=0
    shift 2
    if [ -n "$only" ]; then
        mapfile -t names < <(meson test -C "$dir" --no-rebuild --list "$@" 2>/dev/null |
            sed -E 's,^[^ ]+ / ,,' | grep -F -- "$only" | sort -u)
        [ ${#names[@]} -gt 0 ] || { echo "== $label: no test is called $only"; return 0; }
    fi
    echo "== $label"
    local log=$dir/meson-logs/${label// /-}.json
    rm -f "$log"
    fixed_addresses meson test -C "$dir" --no-rebuild --logbase "${label// /-}" --num-processes "$(nproc)" --print-errorlogs \
        "$@" "${names[@]}" </dev/null 2>&1 | grep --line-buffered -vE '^(\[[0-9]+/[0-9]+\] |ninja: |Full log|$)' || status=$?
    if [ -s "$log" ]; then logs+=("$label=$log"); fi
    # meson itself may fail: a build that is broken, a test that cannot be started.
    if [ "$status" != 0 ] && ! grep -qE '"result": "(FAIL|ERROR|TIMEOUT|INTERRUPT|UNEXPECTEDPASS)"' "$log"; then
        echo "FAILED: meson test in $dir"
        failures=$((failures + 1))
    fi
}

# What reports of sanitizers need: lines, not variables. Whole targets at once compile in a third of the time; that
# each file also compiles alone is what the plain build shows.
sanitized=(clang -Doptimization=1 -Ddebug=false -Dcpp_args=-gline-tables-only -Db_lundef=false
    -Dunity=on -Dunity_size=1000)

build_plain() { configure build gcc && compile build; }
# This build is the one by clang, so it is also the one that analyses locks (-Wthread-safety -Werror).
build_asan() {
    configure build-asan "${sanitized[@]}" -Db_sanitize=address,undefined -Dfuzzers=true && compile build-asan
}
# Only what its tests need: `true` in their place has them built.
build_tsan() {
    configure build-tsan "${sanitized[@]}" -Db_sanitize=thread &&
        compile build-tsan meson test -C build-tsan --suite parallel --no-suite long --wrapper true --logbase built
}

# Long tests are about images, tools and mounts and say the same in each build; those of the suite `lies` are about
# memory.
test_plain() { suite plain build "${length[@]}" --no-suite lies -t 2; }
test_asan() {
    suite 'address and undefined behaviour' build-asan --no-suite long --no-suite tidy -t 4
    if [ -n "$long" ]; then suite 'address and undefined behaviour, long' build-asan --suite lies -t 4; fi
}
test_tsan() { suite threads build-tsan --no-suite long --suite parallel -t 8; }

run_tests() {
    local chosen=() only= long= failures=0 logs=() length=(--no-suite long) build status i
    while [ $# -gt 0 ]; do
        case "$1" in
        --long) long=1 length=() ;;
        --plain | --asan | --tsan) chosen+=("${1#--}") ;;
        --only) [ $# -ge 2 ] || die "--only needs a name"; only=$2; shift ;;
        *) die "test: unknown option $1" ;;
        esac
        shift
    done
    [ ${#chosen[@]} -gt 0 ] || chosen=(plain asan tsan)

    export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
    export ASAN_OPTIONS=strict_string_checks=1:detect_stack_use_after_return=1
    # libfuse frees the mountpoint's name only when it unmounts itself, which our daemons do.
    export LSAN_OPTIONS=suppressions=$top/scripts/lsan.supp:print_suppressions=0
    export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1

    # The next build is made beside the tests of the last one, at low priority: tests wait, compilers do not.
    "build_${chosen[0]}" &
    build=$!
    for i in "${!chosen[@]}"; do
        status=0
        wait "$build" || status=$?
        if [ $((i + 1)) -lt ${#chosen[@]} ]; then
            (renice -n 10 -p $BASHPID >/dev/null; "build_${chosen[i + 1]}") &
            build=$!
        fi
        if [ "$status" = 0 ]; then
            "test_${chosen[i]}"
        else
            # One failure; the other runs go on.
            echo "FAILED: build_${chosen[i]}"
            failures=$((failures + 1))
        fi
    done
    echo "== summary"
    python3 scripts/count_tests.py --failed "$failures" "${logs[@]}"
}
