"""Several processes: what FSDP gathers a block at a time, and a world trained by two."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.fsdp_utils import fsdp2_prepare_auto_wrap_policy
from torch import nn

from tests.support.toy import toy_recipe, toy_shards
from tests.world.ctrl_world.tiny import a_denoiser
from tests.world.uwm import tiny as uwm
from worldeval.data.latent_cache import LatentCache
from worldeval.world.load import load_world, read_card
from worldeval.world.tokenizer.encode import LATENTS
from worldeval.world.uwm.loss import UwmLoss

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("trained", "blocks"),
    [
        (
            a_denoiser(),
            {"BasicTransformerBlock", "TemporalBasicTransformerBlock", "SpatioTemporalResBlock"},
        ),
        (UwmLoss(uwm.new_model()), {"_AdaNormBlock"}),
    ],
    ids=["ctrl_world", "uwm"],
)
def test_accelerate_shards_what_is_trained_by_blocks(trained: nn.Module, blocks: set[str]) -> None:
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2, auto_wrap_policy="transformer_based_wrap"
    )
    policy = fsdp2_prepare_auto_wrap_policy(plugin, trained)
    assert policy is not None
    chosen = [each for each in trained.modules() if policy(each)]
    assert {type(each).__name__ for each in chosen} == blocks
    inside = sum(each.numel() for block in chosen for each in block.parameters())
    assert inside > 0.5 * sum(each.numel() for each in trained.parameters())


@pytest.mark.slow
def test_two_processes_train_the_world_that_one_does(tmp_path: Path) -> None:
    """From shards: tokenizer, latents, hand and dynamics; the first process alone writes."""
    toy_shards(tmp_path / "data", episodes=6)
    toy_shards(tmp_path / "weak", episodes=2, seed=1, source="weak/step-1")
    train_as_one_of_several(tmp_path, tmp_path / "by-1")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc_per_node", "2", __file__, str(tmp_path)),
        ],
        cwd=ROOT,
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (tmp_path / f"by-{processes}" for processes in (1, 2))
    facts = [
        json.loads((folder / f"facts-{i}.json").read_text()) for folder, i in [(two, 0), (two, 1)]
    ]
    assert [each["processes"] for each in facts] == [2, 2]
    assert [bool(each["stages"]) for each in facts] == [True, False]
    by_size = [
        sorted((LatentCache(each) for each in (folder / LATENTS).iterdir()), key=len)
        for folder in (one, two)
    ]
    for first, second in zip(*by_size, strict=True):
        assert first.episodes == second.episodes
        for index in range(len(first)):
            away = first.latents(index).astype(float) - second.latents(index)
            assert np.abs(away).mean() < 0.05
    cards = [read_card(folder)["fidelity"]["h5"] for folder in (one, two)]
    assert cards[0]["latent_mse"] == pytest.approx(cards[1]["latent_mse"], rel=0.05)
    assert load_world(two).tokenizer is not None
    left = {path.name for path in two.rglob("*") if "training" in path.name or "hand" in path.name}
    assert not left and not list(two.rglob("*.part*"))


def train_as_one_of_several(home: Path, out: Path) -> None:
    """What each of several processes runs."""
    from accelerate import PartialState

    from worldeval.world.training.pipeline import train_world
    from worldeval.world.training.prepare import prepare

    stages: list[str] = []

    def report(stage: str, steps: int):
        return lambda step, loss: stages.append(stage)

    recipe = toy_recipe(steps=20)
    prepared = prepare(recipe, home / "data", [home / "weak"], out, seed=0, report=report)
    train_world(recipe, prepared, out, kind="latent", seed=0, report=report)
    state = PartialState()
    facts = {"stages": stages, "processes": state.num_processes}
    (out / f"facts-{state.process_index}.json").write_text(json.dumps(facts))
    state.destroy_process_group()


if __name__ == "__main__":
    train_as_one_of_several(Path(sys.argv[1]), Path(sys.argv[1]) / "by-2")
