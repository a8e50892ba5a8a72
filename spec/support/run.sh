#!/bin/sh
# Runs spec files under one or more Luas and prints the sum of all counts.
#   run.sh BUILD_DIR "lua5.4 luajit" FILE-OR-FOLDER...
# Several Luas run side by side (JOBS=1: one after the other); what the later
# ones print is shown when the earlier have ended. Each has a folder of its own
# for the files that specs write. The exit status is 0 when nothing failed and
# something passed.
build=$1 luas=$2 all=$2
shift 2
busted=$(command -v busted) || { echo "busted is missing: try 'make deps'" >&2; exit 1; }
out=$build/run.$$
mkdir -p "$out"
trap 'rm -rf "$out"' EXIT

run() {
  lua=$1
  shift
  mkdir -p "build/tmp/$lua"
  WANE_BUILD=$build WANE_LUA=$lua WANE_LUAS=$all WANE_COUNTS=$out/$lua.counts WANE_TMP=build/tmp/$lua \
  LUA_PATH="./lua/?.lua;./lua/?/init.lua;./?.lua;./?/init.lua;;" \
  LUA_CPATH="$build/$lua/?.so;;" \
    $WANE_WRAP "$lua" "$busted" -o spec/support/report.lua -p _spec "$@"
  echo $? > "$out/$lua.status"
}

first=
for lua in $luas; do
  if [ -n "$first" ] && [ "$JOBS" != 1 ]; then
    run "$lua" "$@" > "$out/$lua.log" 2>&1 &
  fi
  first=${first:-$lua}
done
passed=0 failed=0 skipped=0
for lua in $luas; do
  echo "== $lua"
  if [ "$lua" = "$first" ] || [ "$JOBS" = 1 ]; then
    run "$lua" "$@"
  else
    wait
    cat "$out/$lua.log"
  fi
  read -r status 2>/dev/null < "$out/$lua.status" || status=1
  if read -r p f s 2>/dev/null < "$out/$lua.counts"; then
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    [ "$status" -eq 0 ] || [ "$f" -gt 0 ] || failed=$((failed + 1))
  else
    echo "$lua ended with status $status before it could count"
    failed=$((failed + 1))
  fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
