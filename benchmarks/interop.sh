#!/usr/bin/env bash
# LeRobot reads what we export, and its loader is timed beside ours.
#
#     benchmarks/interop.sh [DATA [EXPORTED]]
#
# DATA is a Ctrl-World folder with latents: default $WORLDEVAL_DROID, else ../shared/data/droid.
# EXPORTED is a dataset that `worldeval export` wrote, to be read too: default runs/demo/dataset,
# where there is one.
#
# Makes an environment of its own for LeRobot 0.4.4 (it pins torch < 2.11 and av < 16, so it cannot
# live in ours) in data-cache/interop/; several GB are downloaded the first time. LeRobot's default
# decoder needs ffmpeg's libraries (Debian: apt-get install ffmpeg); it is left out without them.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:-${WORLDEVAL_DROID:-../shared/data/droid}}
exported=${2:-runs/demo/dataset}
python=.venv/bin/python
theirs=data-cache/interop/bin/python
if [ ! -d "$data" ]; then
    echo "there is no data at $data: give a Ctrl-World folder" >&2
    exit 2
fi
if [ ! -x "$theirs" ]; then
    "$python" -m venv data-cache/interop
    data-cache/interop/bin/pip install --quiet "lerobot==0.4.4"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HF_HUB_OFFLINE=1
"$python" benchmarks/interop_export.py "$data" "$work"
"$theirs" benchmarks/interop.py check "$work/set" "$work/set.npz"
if [ -f "$exported/meta/info.json" ]; then
    "$python" benchmarks/interop_export.py "$exported" "$work" --as-is
    "$theirs" benchmarks/interop.py check "$exported" "$work/$(basename "$exported").npz"
fi
"$python" benchmarks/data.py --data "$data" --lerobot-python "$theirs"
