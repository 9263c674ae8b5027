"""Encoding shards once: `latents-<name>.npy` beside the tokenizer, opened as `LatentEpisodes`."""

from pathlib import Path

import numpy as np

from worldeval.data.latents import LatentEpisodes
from worldeval.data.shards import Shards
from worldeval.errors import UserError, did_you_mean
from worldeval.world.fit_tokenizer import encode_all
from worldeval.world.tokenizer import FrameTokenizer


def encoded(
    tokenizer: FrameTokenizer, shards: Shards, tasks: tuple[str, ...], path: Path
) -> LatentEpisodes:
    """The episodes of `shards` with their latents, encoded now unless `path` holds them."""
    for task in shards.tasks:
        if task not in tasks:
            raise UserError(
                f"The tokenizer never saw the task '{task}'.{did_you_mean(task, tasks)}"
            )
    if not path.is_file() or len(np.load(path, mmap_mode="r")) != len(shards.pose):
        encode_all(tokenizer, shards, tasks, path)
    table = shards.episodes
    return LatentEpisodes(
        latents=np.load(path, mmap_mode="r"),
        actions=shards.actions,
        pose=shards.pose,
        task=np.array([tasks.index(task) for task in table["task"]]),
        begin=table["begin"].to_numpy(),
        length=table["length"].to_numpy(),
        flags=shards.flags,
    )
