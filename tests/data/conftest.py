"""Generated episodes with known content, and where real data is, if it is there."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.droid import droid_folder
from worldeval.record import Episode

TASKS = ("open the drawer", "close the drawer", "")


def moving_square(length: int, size: tuple[int, int], *, shift: int = 0) -> np.ndarray:
    """A bright square travelling over a soft colour ramp: no two frames are equal.

    Colours are soft because yuv420p halves their resolution, whatever the encoder does.
    """
    height, width = size
    y, x = np.mgrid[:height, :width]
    ramp = np.stack([60 + x, 60 + y, 90 + (x + y) / 2], axis=-1)
    frames = np.repeat(ramp[None], length, axis=0)
    for t in range(length):
        left = 2 * ((shift + t) % (width // 2 - 6))
        frames[t, 8:20, left : left + 12] = 200 + t % 40
    return frames.astype(np.uint8)


def make_episode(index: int, *, length: int = 12, size: tuple[int, int] = (48, 64)) -> Episode:
    """Episode `index`: its numbers are drawn with the seed `index`, so all differ."""
    rng = np.random.default_rng(index)
    return Episode(
        id=f"made-{index}",
        frames={
            "top": moving_square(length, size, shift=index),
            "wrist": moving_square(length, (32, 32), shift=2 * index),
        },
        actions=rng.normal(size=(length, 4)).astype(np.float32),
        pose=rng.normal(size=(length, 3)).astype(np.float32),
        task=TASKS[index % len(TASKS)],
        success=(True, False, None)[index % 3],
        fps=10.0,
        source="made",
    )


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB."""
    error = np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


@pytest.fixture
def made() -> Callable[..., Episode]:
    return make_episode


@pytest.fixture
def quality() -> Callable[[np.ndarray, np.ndarray], float]:
    return psnr


@pytest.fixture(scope="session")
def droid() -> Path:
    return droid_folder()
