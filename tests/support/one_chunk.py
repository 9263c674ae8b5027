"""One-chunk prediction against the frame before it, repeated: the least a world model must do."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.support.droid import droid_folder
from worldeval.axes import Array, Int
from worldeval.data.latents import LatentEpisodes
from worldeval.world.families import Fitting, family
from worldeval.world.prepare import prepare
from worldeval.world.world import World


def one_chunk(
    world: World, data: LatentEpisodes, episodes: Int[Array, " e"], *, frames: int, every: int = 4
) -> tuple[float, float]:
    """Latent MSE over chunks of `frames` imagined from observed frames, and of the observed frame
    repeated; from every `every`-th frame of the episodes, all frames of a chunk counted alike."""
    begin = data.transitions(episodes, frames)[::every]
    tasks = [world.spec.tasks[data.task[index]] for index in data.episode_of_row[begin]]
    observed = data.gather(begin).numpy()
    state = world.begin_latents(data.gather(begin), data.pose[begin], tasks, begin.tolist())
    errors, repeated = [], []
    for step in range(frames):
        state = world.step(state, data.actions[begin + step])
        truth = data.gather(begin + step + 1).numpy()
        errors.append(np.square(world.latents(state) - truth).mean())
        repeated.append(np.square(observed - truth).mean())
    return float(np.mean(errors)), float(np.mean(repeated))


def droid_chunk(kind: str, recipe: Any, home: Path) -> tuple[float, float]:
    """`one_chunk` of four frames on the held-out DROID episodes, after training on the others."""

    def quiet(stage: str, steps: int):
        return lambda step, loss: None

    prepared = prepare(recipe, droid_folder(), (), home, seed=0, report=quiet)
    assert len(prepared.held) == 2
    torch.manual_seed(0)
    world = family(kind).new(prepared.spec, recipe)
    fitting = Fitting(
        world=world,
        recipe=recipe,
        prepared=prepared,
        episodes=prepared.training(weak=False, without_fold=None, folds=2),
        seed=0,
        report=quiet,
        stage="base",
        fresh=True,
        folder=home,
    )
    family(kind).fit(fitting)
    error, repeated = one_chunk(world, prepared.episodes, prepared.held, frames=4, every=24)
    print(f"{kind} on DROID, four frames: {error:.4f}, last frame repeated {repeated:.4f}")
    return error, repeated
