"""Compiled imagination, in a process of its own: checks of shapes cannot be compiled.

With the backend `eager`, torch takes the networks apart as for any other, and computes as before.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
import numpy as np
import torch._dynamo
from tests.device.test_worlds import a_world, begun
from worldeval.device import compiles

def rolled(world):
    state, rng = begun(world), np.random.default_rng(0)
    for _ in range(4):
        state = world.step(state, rng.uniform(-1, 1, (3, 8)).astype(np.float32))
    return world.latents(state)

assert compiles()
for kind in sys.argv[1:]:
    world = a_world(kind)
    world.compile_networks()
    np.testing.assert_allclose(rolled(world), rolled(a_world(kind)), atol=1e-5)
    counted = torch._dynamo.utils.counters
    print(kind, counted["stats"]["unique_graphs"], sum(counted["graph_break"].values()))
    counted.clear()
"""


@pytest.mark.parametrize(
    ("kinds", "graphs"),
    [
        (["latent", "dit rotary"], [1, 1]),
        pytest.param(["dit", "uwm", "rssm", "ctrl_world"], [1, 2, 2, 1], marks=pytest.mark.slow),
    ],
)
def test_a_compiled_world_imagines_the_same_in_whole_graphs(
    kinds: list[str], graphs: list[int]
) -> None:
    """One graph for each shape: `uwm` has a chunk of one and of two frames, `rssm` two methods."""
    told = {"WORLDEVAL_COMPILE": "eager", "WORLDEVAL_BF16": "0", "OMP_NUM_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, *kinds],
        cwd=ROOT,
        env=os.environ | told | {"PYTHONPATH": f"{ROOT}:{ROOT / 'benchmarks'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    expected = [f"{kind} {count} 0" for kind, count in zip(kinds, graphs, strict=True)]
    assert found.stdout.splitlines() == expected
