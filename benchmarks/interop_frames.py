# lerobot lives in an environment of its own.
# pyright: reportMissingImports=false
"""Frames of sound but odd LeRobot datasets: what LeRobot shows for each row, and what we show.

    python benchmarks/interop_frames.py OUT.json PYTHON [PYTHON ...]

Each PYTHON is that of an environment with LeRobot. The datasets are those of
tests/support/odd_lerobot.py, whose every picture carries its episode and frame; their export by
`worldeval data convert` is read too. The result is put into OUT.json under "frames".
"""

import json
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests/support")]  # LeRobot installs a package named tests of its own
VIEW = "observation.images.top"


def main(out: Path, pythons: list[str]) -> None:
    """Make the datasets, read them here and there, and compare with what was filmed."""
    sys.path[:0] = [str(ROOT)]
    from tests.support.odd_lerobot import CASES
    from worldeval.data.convert import convert
    from worldeval.data.source import open_source
    from worldeval.files import read_json, write_json

    with tempfile.TemporaryDirectory() as work:
        expected, ours = {}, {}
        for case, make in CASES.items():
            folder = Path(work, case)
            rows = [list(row) for episode in make(folder) for row in episode]
            source = open_source(folder)
            expected[case] = expected[f"{case}-exported"] = rows
            ours[case] = verdict(rows, seen_here(source))
            convert(source, Path(work, f"{case}-exported"), to="lerobot")
        Path(work, "expected.json").write_text(json.dumps(expected))
        theirs = {}
        for python in pythons:
            command = [python, __file__, "read", work]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            theirs |= json.loads(done.stdout.splitlines()[-1])
    kept = read_json(out) if out.is_file() else {}
    found = {
        "command": "benchmarks/interop_frames.py",
        "rows": {case: len(rows) for case, rows in expected.items()},
        "worldeval": ours,
        **theirs,
    }
    write_json(out, {**kept, "frames": found})
    print(json.dumps(found, indent=1))


def read(work: Path) -> None:
    """In LeRobot's environment: the marks of every row, by every decoder there is."""
    from interop import _decoders
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    results: dict[str, dict[str, str]] = {}
    for case, rows in json.loads((work / "expected.json").read_text()).items():
        for decoder in _decoders():
            name = f"lerobot {version('lerobot')} {decoder}"
            try:
                data = LeRobotDataset("local/odd", root=work / case, video_backend=decoder)
                pictures = (data[row][VIEW].numpy().transpose(1, 2, 0) for row in range(len(data)))
                told = verdict(rows, marks_of((p * 255).round().astype(np.uint8) for p in pictures))
            except Exception as error:  # it refuses the older formats with errors of its own
                told = f"refused: {type(error).__name__}"
            results.setdefault(name, {})[case] = told
    print(json.dumps(results))


def seen_here(source) -> list[list[int]]:
    """The marks of every row of every episode."""
    frames = (frame for index in range(len(source)) for frame in source.frames(index, "top"))
    return marks_of(frames)


def marks_of(pictures) -> list[list[int]]:
    """(episode, frame) of each picture."""
    from marked_frames import read_mark

    return [[mark.episode, mark.frame] for mark in map(read_mark, pictures)]


def verdict(expected: list[list[int]], seen: list[list[int]]) -> str:
    """Whether every row shows its own frame."""
    wrong = sum(one != other for one, other in zip(expected, seen, strict=False))
    wrong += abs(len(expected) - len(seen))
    return "every row shows its frame" if not wrong else f"{wrong} rows show another frame"


if __name__ == "__main__":
    if sys.argv[1] == "read":
        read(Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]), sys.argv[2:])
