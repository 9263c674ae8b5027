"""Training stages: folds leave their part out, and stored weights lose little."""

from pathlib import Path

import numpy as np
import torch

from worldeval.world.load import read_card
from worldeval.world.training.prepare import Prepared
from worldeval.world.weights import load_weights, save_weights
from worldeval.world.world import World


def test_folds_share_out_the_weak_roll_outs(prepared: Prepared) -> None:
    every = prepared.training(weak=True, without_fold=None, folds=2)
    parts = [prepared.training(weak=True, without_fold=fold, folds=2) for fold in (0, 1)]
    left_out = [np.setdiff1d(every, part) for part in parts]
    assert sorted(np.concatenate(left_out)) == sorted(prepared.weak)
    assert not set(left_out[0]) & set(left_out[1])
    assert not set(every) & set(prepared.held)


def test_the_model_learns_to_follow(world: World, toy_folder: Path) -> None:
    fidelity = read_card(toy_folder / "world")["fidelity"]
    assert fidelity["h5"]["latent_mse"] < 0.8 * fidelity["h5"]["copy_mse"]
    assert fidelity["h5"]["hand_mm"] < 200  # the dot walks about 300 mm in five frames


def test_one_byte_a_number_keeps_three_digits(tmp_path: Path) -> None:
    state = {"big": torch.randn(300, 300), "small": torch.randn(4, 4), "bias": torch.randn(7)}
    save_weights(tmp_path / "w.safetensors", state, compress=True)
    again = load_weights(tmp_path / "w.safetensors")
    assert set(again) == set(state)
    assert (again["big"] - state["big"]).abs().max() < state["big"].abs().max() / 127
    torch.testing.assert_close(again["bias"], state["bias"])
    assert (tmp_path / "w.safetensors").stat().st_size < 100_000
