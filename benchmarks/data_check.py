"""How long `worldeval data check` takes on 100 episodes, beside decoding all of their frames once.

    python benchmarks/data_check.py --data DATA [--keep FOLDER]

The episodes are those of DATA (a Ctrl-World folder of DROID: three views of 192 x 320), taken in
turn, with other pictures (shifted) and other motion (disturbed), so that none is a copy of another.
Check and decoding take turns, each in a process of its own; the result is put into
benchmarks/results/data.json under "check_100_episodes".
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from time import process_time

import numpy as np

from worldeval.data.check.check import check
from worldeval.data.formats.lerobot.layout import Layout
from worldeval.data.formats.lerobot.write import LeRobotWriter
from worldeval.data.source import Rows, Source, open_source
from worldeval.files import read_json, write_json

EPISODES, ROUNDS = 100, 3
RESULT = Path(__file__).parent / "results" / "data.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--keep", type=Path, help="Where to put the episodes, to be used again.")
    parser.add_argument("--only", choices=["check", "decode"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        print(*measured(open_source(args.data), args.only))
        return
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as made:
        folder = (args.keep or Path(made)) / "hundred"
        if not folder.is_dir():
            multiply(open_source(args.data), folder)
        source = open_source(folder)
        rounds = [
            {what: seconds(folder, what) for what in ("decode", "check")} for _ in range(ROUNDS)
        ]
    ratios = [one["check"] / one["decode"] for one in rounds]
    low, middle, high = np.quantile(ratios, (0, 0.5, 1)).round(2).tolist()
    result = {
        "command": "benchmarks/data_check.py",
        "machine": f"{os.cpu_count()} CPU cores, load {load:.1f} before the start",
        "data": f"{len(source)} episodes, {sum(head.length for head in source.heads)} frames of "
        f"views {list(source.spec.views.values())}",
        "cpu_seconds": {
            what: round(float(np.median([one[what] for one in rounds])), 1) for what in rounds[0]
        },
        "check/decode": {"median": middle, "lowest": low, "highest": high},
    }
    write_json(RESULT, {**read_json(RESULT), "check_100_episodes": result})
    print(result)


def multiply(origin: Source, out: Path) -> None:
    """Write a hundred episodes like those of `origin`, none of them a copy of another."""
    spec = origin.spec
    layout = Layout(
        fps=spec.fps,
        views=spec.views,
        action_names=spec.action_names,
        pose_names=spec.pose_names,
    )
    with LeRobotWriter(out, layout) as writer:
        for number in range(EPISODES):
            index, rng = number % len(origin), np.random.default_rng(number)
            head, rows = origin.heads[index], origin.rows(index)
            walk = rng.normal(size=rows.pose.shape).cumsum(axis=0) * 0.01 * rows.pose.std(axis=0)
            moved = Rows(
                actions=(rows.actions + walk).astype(np.float32),
                pose=(rows.pose + walk).astype(np.float32),
            )
            frames = {
                view: (np.roll(block, number, axis=2) for block in origin.blocks(index, view))
                for view in spec.views
            }
            name = f"{head.id}-{number}"
            writer.add_parts(type(head)(**{**vars(head), "id": name}), moved, frames, place=number)


def seconds(folder: Path, what: str) -> float:
    """Processor seconds of one of the two, in a process of its own."""
    command = [sys.executable, __file__, "--data", str(folder), "--only", what]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    print(what, done.stdout.strip(), file=sys.stderr)
    return float(done.stdout.split()[0])


def measured(source: Source, what: str) -> tuple[float, dict[str, int]]:
    """Processor seconds, and what was found or how much was decoded."""
    began = process_time()
    if what == "check":
        told = dict(Counter(finding.code for finding in check(source)))
    else:
        told = {
            view: sum(
                len(block) for index in range(len(source)) for block in source.blocks(index, view)
            )
            for view in source.spec.views
        }
    return round(process_time() - began, 2), told


if __name__ == "__main__":
    main()
