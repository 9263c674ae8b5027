#!/usr/bin/env bash
# LeRobot reads what we export, and its loader is timed beside ours.
#
#     benchmarks/interop.sh [DATA]      DATA: default $WORLDEVAL_DROID, else ../shared/data/droid
#
# Makes an environment of its own for LeRobot 0.4.4 (it pins torch < 2.11 and av < 16, so it cannot
# live in ours) in data-cache/interop/; several GB are downloaded the first time.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:-${WORLDEVAL_DROID:-../shared/data/droid}}
python=.venv/bin/python
if [ ! -d "$data" ]; then
    echo "there is no data at $data: give a Ctrl-World folder" >&2
    exit 2
fi
if [ ! -x data-cache/interop/bin/python ]; then
    "$python" -m venv data-cache/interop
    data-cache/interop/bin/pip install --quiet "lerobot==0.4.4"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" benchmarks/interop_export.py "$data" "$work"
HF_HUB_OFFLINE=1 data-cache/interop/bin/python benchmarks/interop.py check "$work/set" "$work/expected.npz"
"$python" benchmarks/data.py --data "$data" --lerobot-python data-cache/interop/bin/python
