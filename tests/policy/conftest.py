"""A tiny world of demonstrations: half of the action is a bright square's column, half the task."""

from pathlib import Path

import numpy as np
import pytest

from worldeval.data.formats.shards.layout import ShardEpisode, write_shard
from worldeval.data.table import RecordedEpisodes, read_table
from worldeval.record import Episode

TASKS = ("pull-v3", "push-v3")
LENGTH, ACTION, SIZE = 12, 8, 32


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten clean experts, four noisy ones, six slow ones and four failures of each task."""
    folder = tmp_path_factory.mktemp("shards")
    rng = np.random.default_rng(0)
    items = []
    for task in TASKS:
        drivers = [("expert", True)] * 10 + [("expert-noise", True)] * 4
        drivers += [("expert-slow", True)] * 6 + [("expert-displaced", False)] * 4
        for number, (source, success) in enumerate(drivers):
            items.append(_episode(f"{task}-{number}", task, source, success, rng))
    write_shard(folder / "a.h5", items)
    return folder


@pytest.fixture(scope="session")
def shards(folder: Path) -> RecordedEpisodes:
    return read_table(folder)


def _episode(
    name: str, task: str, source: str, success: bool, rng: np.random.Generator
) -> ShardEpisode:
    column = rng.integers(SIZE - 8)
    frames = np.full((LENGTH, SIZE, SIZE, 3), 40, np.uint8)
    frames[:, 12:20, column : column + 8] = 230
    actions = np.full((LENGTH, ACTION), 2 * column / (SIZE - 8) - 1, np.float32)
    actions[:, ACTION // 2 :] = 0.5 if task == TASKS[0] else -0.5
    flags = np.zeros(LENGTH, np.uint8)
    if success:
        flags[8:] = 1
    return ShardEpisode(
        episode=Episode(
            id=name,
            frames={"side": frames, "top": frames[:, :, ::-1].copy()},
            actions=actions,
            pose=rng.normal(0, 0.1, (LENGTH, 4)).astype(np.float32),
            task=task,
            success=success,
            fps=16.0,
            source=source,
        ),
        flags=flags,
        seed=0,
    )
