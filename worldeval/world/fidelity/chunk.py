"""One-chunk prediction against repeating the last frame, the baseline to beat."""

from dataclasses import dataclass

import numpy as np

from worldeval.axes import Array, Float, Int
from worldeval.data.latents import LatentEpisodes
from worldeval.errors import UserError
from worldeval.world.fidelity.held_out import BATCH
from worldeval.world.walk import walk
from worldeval.world.world import World


@dataclass(frozen=True, kw_only=True)
class OneChunk:
    """Squared errors in standardised latents, averaged over all frames of all chunks.

    Chunks of one episode are not independent; `by_episode` shows how far episodes differ.
    """

    latent_mse: float
    repeated_mse: float  # of repeating the observed frame
    by_episode: tuple[tuple[float, float], ...]  # the same two numbers, episode by episode
    frames: int  # per chunk
    moments: int  # observed frames from which a chunk was imagined


def one_chunk(
    world: World, data: LatentEpisodes, episodes: Int[Array, " e"], *, frames: int, every: int = 4
) -> OneChunk:
    """Imagine `frames` frames with the recorded actions from every `every`-th frame of `episodes`.

    Raises UserError if no episode is longer than a chunk.
    """
    begin = data.transitions(episodes, frames)[::every]
    if not len(begin):
        raise UserError(f"No held-out episode is longer than a chunk of {frames} frames.")
    parts = [
        _errors(world, data, begin[first : first + BATCH], frames)
        for first in range(0, len(begin), BATCH)
    ]
    errors = np.concatenate(parts)
    episode = data.episode_of_row[begin]
    means = [errors[episode == each].mean((0, 1)) for each in np.unique(episode)]
    latent_mse, repeated_mse = errors.mean((0, 1))
    return OneChunk(
        latent_mse=float(latent_mse),
        repeated_mse=float(repeated_mse),
        by_episode=tuple((float(own), float(repeated)) for own, repeated in means),
        frames=frames,
        moments=len(begin),
    )


def _errors(
    world: World, data: LatentEpisodes, begin: Int[Array, " n"], frames: int
) -> Float[Array, "n t 2"]:
    """For every frame ahead, the error of the imagined frame and of repeating the observed one."""
    tasks = world.tasks_of(data, data.episode_of_row[begin])
    first = data.gather(begin)
    observed = first.numpy()
    state = world.begin_latents(first, data.pose[begin], tasks, begin.tolist())
    walked = walk(world, state, data.actions[begin[:, None] + np.arange(frames)])
    out = []
    for step in range(frames):
        truth = data.gather(begin + step + 1).numpy()
        pair = (walked.latents[:, step], observed)
        out.append(np.stack([np.square(each - truth).mean((1, 2, 3, 4)) for each in pair], 1))
    return np.stack(out, 1)
