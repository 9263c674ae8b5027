"""Two Ray nodes, one of which is lost in the middle: the same verdicts as here alone."""

import os
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from faults import Bench, Tally, ray_cluster

from worldeval.device import compiles, compiling
from worldeval.evaluate.workers.cluster import ClusterActor, fitting, gpu_share
from worldeval.evaluate.workers.parcel import Parcel
from worldeval.evaluate.workers.worker import Setup
from worldeval.rollout.recipe import ProtocolRecipe

pytest.importorskip("ray")


@pytest.mark.parametrize(
    ("resources", "share", "count"),
    [
        ({"CPU": 12.0}, 0.0, 12),
        ({"CPU": 512.0, "GPU": 64.0}, 0.5, 128),
        ({"CPU": 512.0, "GPU": 64.0}, 1.0, 64),
        ({"CPU": 4.0, "GPU": 8.0}, 0.5, 4),  # every worker needs a core
        ({}, 0.0, 1),
    ],
)
def test_workers_fill_the_gpus_or_else_the_cores(
    resources: dict[str, float], share: float, count: int
) -> None:
    assert fitting(resources, share) == count


def test_a_large_model_has_a_gpu_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("dynamics", "tokenizer"):
        (tmp_path / f"{name}.safetensors").write_bytes(bytes(60))
    assert gpu_share(tmp_path) == 0.5
    monkeypatch.setattr("worldeval.evaluate.workers.cluster.LARGE", 120)
    assert gpu_share(tmp_path) == 1.0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_lost_node_changes_nothing(tmp_path: Path) -> None:
    bench, tally = Bench(tmp_path, np.random.default_rng(0)), Tally()
    ray_cluster(bench, tally, actors=1)
    assert (tally.kills, tally.resumed_equal, tally.lost, tally.duplicated) == (2, 2, 0, 0)


def test_a_worker_elsewhere_compiles_where_the_command_was_told_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = ProtocolRecipe(tasks=("t",), policies=("p",), world="w", judge="j")
    with compiling(True):
        told = Setup(recipe=recipe, starts=[], seed=0)
    untold = Setup(recipe=recipe, starts=[], seed=0)
    assert not compiles()
    monkeypatch.setattr("worldeval.evaluate.workers.cluster.Worker", lambda setup: setup)
    for setup, expected in ((untold, False), (told, True)):
        with patch.dict(os.environ):  # it writes to its own process's
            ClusterActor(setup, Parcel(folders={}), 1)
            assert compiles() == expected
