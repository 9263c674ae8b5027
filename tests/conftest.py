"""What every test shares: one thread, no display, seeded randomness, and the marks."""

import os

# Before numpy and torch are imported: tiny inputs are slower on several threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("MUJOCO_GL", "osmesa")
# Known answers are those of float32, on machines whose CPU multiplies bfloat16 too.
os.environ.setdefault("WORLDEVAL_BF16", "0")

import numpy as np
import pytest

from tests.support.chromium import browser  # noqa: F401  (a fixture of several folders)


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator that is the same in every run."""
    return np.random.default_rng(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `gpu` are skipped, by name and reason, where there is no CUDA device."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
