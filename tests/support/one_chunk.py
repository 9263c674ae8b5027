"""One-chunk prediction against the frame before it, repeated: the least a world model must do."""

import numpy as np

from worldeval.axes import Array, Int
from worldeval.data.latents import LatentEpisodes
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
