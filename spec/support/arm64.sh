#!/bin/sh
# arm64.sh ROOT CPU lua5.4 ARGUMENT...: runs the aarch64 Lua that .ci/arm64
# unpacked under ROOT, on a CPU that qemu knows by that name.
root=$1 cpu=$2 lua=$3
shift 3
lib=usr/lib/aarch64-linux-gnu
LUA_CPATH="$LUA_CPATH;$root/$lib/lua/5.4/?.so" \
  exec qemu-aarch64 -cpu "$cpu" -L /usr/aarch64-linux-gnu \
  -E LD_LIBRARY_PATH="$root/$lib:$root/lib/aarch64-linux-gnu" \
  "$root/usr/bin/$lua" "$@"
