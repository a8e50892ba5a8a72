#!/bin/sh
# Runs spec files under one or more Luas and prints the sum of all counts.
#   run.sh BUILD_DIR "lua5.4 luajit" FILE-OR-FOLDER...
# Every file has a process of its own: what one leaves behind costs the others
# nothing (a collection of all garbage, many times a file), and one that dies
# takes only its own results along. Several Luas run side by side (JOBS=1: one
# after the other); what the later ones print is shown when the earlier have
# ended. Each has a folder of its own for the files that specs write. The exit
# status is 0 when nothing failed and something passed.
build=$1 luas=$2 all=$2
shift 2
busted=$(command -v busted) || { echo "busted is missing: try 'make deps'" >&2; exit 1; }
out=$build/run.$$
mkdir -p "$out"
trap 'rm -rf "$out"' EXIT
for path; do
  if [ -d "$path" ]; then find "$path" -name '*_spec.lua' | LC_ALL=C sort; else echo "$path"; fi
done > "$out/files"

# All files under one Lua: counts, skips and failures go to files in $out.
run() {
  lua=$1
  mkdir -p "build/tmp/$lua"
  : > "$out/$lua.counts"
  while read -r file; do
    WANE_BUILD=$build WANE_LUA=$lua WANE_LUAS=$all WANE_TMP=build/tmp/$lua \
    WANE_COUNTS=$out/$lua.count WANE_DETAILS=$out/$lua.details \
    LUA_PATH="./lua/?.lua;./lua/?/init.lua;./?.lua;./?/init.lua;;" \
    LUA_CPATH="$build/$lua/?.so;;" \
      $WANE_WRAP "$lua" "$busted" -o spec/support/report.lua -p _spec "$file" < /dev/null
    status=$?
    if [ -e "$out/$lua.count" ]; then
      read -r p f s < "$out/$lua.count"
      [ $status -eq 0 ] || [ "$f" -gt 0 ] || f=1
    else
      p=0 f=1 s=0
    fi
    rm -f "$out/$lua.count"
    [ $status -eq 0 ] || echo "FAILED: $file under $lua ended with status $status" >> "$out/$lua.details"
    echo "$p $f $s" >> "$out/$lua.counts"
  done < "$out/files"
}

first=
for lua in $luas; do
  if [ -n "$first" ] && [ "$JOBS" != 1 ]; then
    run "$lua" > "$out/$lua.log" 2>&1 &
  fi
  first=${first:-$lua}
done
for lua in $luas; do
  echo "== $lua"
  if [ "$lua" = "$first" ] || [ "$JOBS" = 1 ]; then
    run "$lua"
  else
    wait
    cat "$out/$lua.log"
  fi
done
cat "$out"/*.details 2>/dev/null
cat "$out"/*.counts | awk '{p += $1; f += $2; s += $3}
  END {printf "%d passed, %d failed, %d skipped\n", p, f, s; exit !(f == 0 && p > 0)}'
