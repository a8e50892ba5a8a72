#!/bin/sh
# Runs spec files under one or more Luas and prints the sum of all counts.
#   run.sh BUILD_DIR "lua5.4 luajit" FILE-OR-FOLDER...
# The exit status is 0 when nothing failed and something passed.
build=$1 luas=$2
shift 2
busted=$(command -v busted) || { echo "busted is missing: try 'make deps'" >&2; exit 1; }
mkdir -p build/tmp "$build"
passed=0 failed=0 skipped=0
for lua in $luas; do
  echo "== $lua"
  counts=$build/counts.$lua.$$
  rm -f "$counts"
  WANE_BUILD=$build WANE_LUA=$lua WANE_COUNTS=$counts \
  LUA_PATH="./lua/?.lua;./lua/?/init.lua;./?.lua;./?/init.lua;;" \
  LUA_CPATH="$build/$lua/?.so;;" \
    $WANE_WRAP "$lua" "$busted" -o spec/support/report.lua -p _spec "$@"
  status=$?
  if read -r p f s 2>/dev/null < "$counts"; then
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    [ "$status" -eq 0 ] || [ "$f" -gt 0 ] || failed=$((failed + 1))
  else
    echo "$lua ended with status $status before it could count"
    failed=$((failed + 1))
  fi
  rm -f "$counts"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
