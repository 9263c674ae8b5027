# lerobot lives in an environment of its own.
# pyright: reportMissingImports=false
"""Read an exported dataset with LeRobot's own `LeRobotDataset`. Runs in LeRobot's environment.

    python interop.py check DATASET EXPECTED.npz     every row equal to what was exported
    python interop.py time DATASET WINDOWS.json OUT.json

`interop.sh` makes the environment, writes EXPECTED.npz and calls this.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

FRAMES = 8


def check(root: Path, expected: Path) -> None:
    """Every frame index, task, action, pose, success and picture."""
    kept = np.load(expected)
    data = LeRobotDataset("local/interop", root=root, video_backend="pyav")
    assert len(data) == len(kept["action"]), (len(data), len(kept["action"]))
    views = [key for key in data.meta.video_keys]
    worst = 99.0
    for row in range(len(data)):
        item = data[row]
        assert int(item["index"]) == row
        assert int(item["frame_index"]) == kept["frame_index"][row]
        assert int(item["episode_index"]) == kept["episode_index"][row]
        assert item["task"] == str(kept["task"][row])
        assert bool(item["next.success"]) == bool(kept["success"][row])
        np.testing.assert_array_equal(item["action"].numpy(), kept["action"][row])
        np.testing.assert_array_equal(item["observation.state"].numpy(), kept["pose"][row])
        for key in views:
            picture = item[key].numpy().transpose(1, 2, 0) * 255
            error = np.mean((picture - kept[key][row]) ** 2)
            worst = min(worst, 10 * np.log10(255**2 / max(error, 1e-9)))
    assert worst > 30, worst
    print(f"{len(data)} frames equal in LeRobot; worst picture {worst:.1f} dB of the original")


def rate(root: Path, windows: Path, out: Path) -> None:
    """Windows per second through LeRobot's delta timestamps."""
    backend = _backend()
    plain = LeRobotDataset("local/interop", root=root, video_backend=backend)
    steps = [n / plain.fps for n in range(FRAMES)]
    data = LeRobotDataset(
        "local/interop",
        root=root,
        delta_timestamps={key: steps for key in plain.meta.video_keys},
        video_backend=backend,
    )
    first = data.meta.episodes["dataset_from_index"]
    rows = [first[episode] + begin for episode, begin in json.loads(windows.read_text())]
    for row in rows[:5]:
        data[row]
    begin = time.perf_counter()
    for row in rows:
        data[row]
    seconds = time.perf_counter() - begin
    out.write_text(json.dumps({"windows_per_second": len(rows) / seconds, "backend": backend}))


def _backend() -> str:
    """LeRobot's default decoder, which needs ffmpeg's libraries on the system, else PyAV."""
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, RuntimeError, OSError):
        return "pyav"
    return "torchcodec"


if __name__ == "__main__":
    verb, *paths = sys.argv[1:]
    {"check": check, "time": rate}[verb](*map(Path, paths))
