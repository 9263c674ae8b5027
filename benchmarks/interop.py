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

FRAMES, PICTURES = 8, 500


def check(root: Path, expected: Path) -> None:
    """Every frame index, task, action, pose and success; pictures of evenly spread frames."""
    kept = dict(np.load(expected))
    data = LeRobotDataset("local/interop", root=root, video_backend="pyav")
    assert len(data) == len(kept["action"]), (len(data), len(kept["action"]))
    views = [key for key in data.meta.video_keys]
    worst = 99.0
    spread = np.linspace(0, len(data) - 1, min(len(data), PICTURES)).round().astype(int).tolist()
    for row in range(len(data)):
        item = data.hf_dataset[row]
        assert int(item["index"]) == row
        assert int(item["frame_index"]) == kept["frame_index"][row]
        assert int(item["episode_index"]) == kept["episode_index"][row]
        task = data.meta.tasks.iloc[int(item["task_index"])].name
        assert task == str(kept["task"][row])
        assert bool(item["next.success"]) == bool(kept["success"][row])
        np.testing.assert_array_equal(item["action"].numpy(), kept["action"][row])
        np.testing.assert_array_equal(item["observation.state"].numpy(), kept["pose"][row])
    for row in spread:
        item = data[row]
        assert item["task"] == str(kept["task"][row])
        for key in views:
            picture = item[key].numpy().transpose(1, 2, 0) * 255
            error = np.mean((picture - kept[key][row]) ** 2)
            worst = min(worst, 10 * np.log10(255**2 / max(error, 1e-9)))
    assert worst > 30, worst
    episodes = int(kept["episode_index"][-1]) + 1
    print(
        f"LeRobot reads {root.name}: all {len(data)} rows of {episodes} episodes equal; the worst "
        f"of {len(spread)} x {len(views)} pictures is {worst:.1f} dB from the original"
    )


def rate(root: Path, windows: Path, out: Path) -> None:
    """Windows per second through LeRobot's delta timestamps, by every decoder there is."""
    chosen = json.loads(windows.read_text())
    out.write_text(json.dumps({decoder: _timed(root, chosen, decoder) for decoder in _decoders()}))


def _timed(root: Path, windows: list[tuple[int, int]], decoder: str) -> tuple[float, float]:
    """Windows per second of the processor, and of the clock."""
    plain = LeRobotDataset("local/interop", root=root, video_backend=decoder)
    steps = [n / plain.fps for n in range(FRAMES)]
    data = LeRobotDataset(
        "local/interop",
        root=root,
        delta_timestamps={key: steps for key in plain.meta.video_keys},
        video_backend=decoder,
    )
    first = data.meta.episodes["dataset_from_index"]
    rows = [first[episode] + begin for episode, begin in windows]
    for row in rows[:5]:
        data[row]
    cpu, clock = time.process_time(), time.perf_counter()
    for row in rows:
        data[row]
    return len(rows) / (time.process_time() - cpu), len(rows) / (time.perf_counter() - clock)


def _decoders() -> list[str]:
    """PyAV, and LeRobot's default, which needs ffmpeg's libraries on the system."""
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, RuntimeError, OSError):
        return ["pyav"]
    return ["pyav", "torchcodec"]


if __name__ == "__main__":
    verb, *paths = sys.argv[1:]
    {"check": check, "time": rate}[verb](*map(Path, paths))
