#!/usr/bin/env bash
# LeRobot reads what we export, its loader is timed beside ours, and its policies act here as there.
#
#     benchmarks/interop.sh [DATA [EXPORTED]]
#
# DATA is a Ctrl-World folder with latents: default $WORLDEVAL_DROID, else ../shared/data/droid.
# EXPORTED is a dataset that `worldeval export` wrote, to be read and to train LeRobot's policies on:
# default runs/demo/dataset, else a small one made here of imagined episodes.
#
# Makes environments of their own for LeRobot 0.4.4 (it pins torch < 2.11 and av < 16, so it cannot
# live in ours) in data-cache/interop/, and for the newest LeRobot in data-cache/interop-newest/
# where there is a Python 3.12 ($PYTHON312, else python3.12); several GB are downloaded the first
# time. $LEROBOT, $LEROBOT_NEWEST, $ROBOMIMIC and $OPENPI name environments that are there already. LeRobot's default
# decoder needs ffmpeg's libraries (Debian: apt-get install ffmpeg); it is left out without them.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:-${WORLDEVAL_DROID:-../shared/data/droid}}
exported=${2:-runs/demo/dataset}
results=benchmarks/results/interop.json
python=${PYTHON:-.venv/bin/python}
old=${LEROBOT:-data-cache/interop}
newest=${LEROBOT_NEWEST:-data-cache/interop-newest}
python312=${PYTHON312:-python3.12}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HF_HUB_OFFLINE=1

"$python" -m worldeval env lerobot --out "$old" --lerobot 0.4.4
if [ -x "$newest/bin/python" ] || command -v "$python312" > /dev/null; then
    "$python" -m worldeval env lerobot --out "$newest" --python "$python312" \
        --extra dataset --extra training --extra diffusion
else
    newest=
fi

if [ ! -f "$exported/meta/info.json" ]; then
    exported=data-cache/interop-dataset
    if [ ! -f "$exported/meta/info.json" ]; then
        "$python" -m worldeval imagine metaworld --starts 2 --jobs 1 \
            --policies models/policies-test/bc-all/step-2400 --out "$work/imagined"
        "$python" -m worldeval export "$work/imagined" --out "$exported"
    fi
fi

if [ -d "$data" ]; then
    "$python" benchmarks/interop_export.py "$data" "$work"
    for theirs in "$old" $newest; do
        "$theirs/bin/python" benchmarks/interop.py check "$work/set" "$work/set.npz"
    done
    "$python" benchmarks/data.py --data "$data" --lerobot-python "$old/bin/python"
else
    echo "there is no data at $data: the loaders are not compared" >&2
fi
"$python" benchmarks/interop_export.py "$exported" "$work" --as-is
"$old/bin/python" benchmarks/interop.py check "$exported" "$work/$(basename "$exported").npz"

"$python" benchmarks/interop_frames.py "$results" "$old/bin/python" ${newest:+"$newest/bin/python"}

robomimic=${ROBOMIMIC:-data-cache/interop-robomimic}
if [ ! -x "$robomimic/bin/python" ]; then
    "$python" -m venv "$robomimic"
    "$robomimic/bin/pip" install --quiet --no-deps robomimic termcolor # the rest is taken from ours
fi
"$python" benchmarks/interop_readers.py "$results" "$robomimic/bin/python"

openpi=${OPENPI:-data-cache/interop-openpi}
if [ ! -x "$openpi/bin/python" ]; then
    "$python" -m venv "$openpi"
    "$openpi/bin/pip" install --quiet openpi-client typing_extensions
fi
"$python" benchmarks/interop_openpi.py "$openpi/bin/python" "$results"

for theirs in "$old" $newest; do
    "$python" benchmarks/interop_policies.py "$theirs" "$exported" "$results" \
        --work "data-cache/interop-policies/$(basename "$theirs")"
done
