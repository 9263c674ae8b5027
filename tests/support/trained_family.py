"""What holds for a world of any family that went through `train_world`: card, disk, statistics."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from worldeval.training.recipe import TrainerRecipe
from worldeval.world.load import load_world, read_card
from worldeval.world.recipe import WorldRecipe
from worldeval.world.training.pipeline import train_world
from worldeval.world.training.prepare import Prepared
from worldeval.world.world import World

FEW = TrainerRecipe(steps=4, batch=4, ema=0.9)


def quiet(stage: str, steps: int) -> Any:
    """Progress that shows nothing."""
    return lambda step, loss: None


def trained_family(
    recipe: WorldRecipe,
    prepared: Prepared,
    folder: Path,
    *,
    kind: str,
    statistics: Sequence[str],
    part: str = "model",
) -> World:
    """Train base, folds and their mean in `folder`, and check what every family promises.

    `statistics` are buffers of the part named `part` that are taken from the base's data alone.
    """
    world = train_world(recipe, prepared, folder, kind=kind, seed=0, report=quiet)
    card = read_card(folder)
    assert (card["kind"], card["stage"]) == (kind, "mean of the folds")
    assert card["recipe"] == recipe
    assert np.isfinite(card["fidelity"]["h5"]["latent_mse"])
    again = load_world(folder)
    for key, value in world.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value)
    # Statistics are those of the base's data in every fold, so their mean is one of them.
    base = load_world(folder / "base")
    for key in statistics:
        final, first = (each.state_dict()[f"{part}.{key}"] for each in (world, base))
        torch.testing.assert_close(final, first, rtol=2e-3, atol=2e-3)
    return world
