"""Encoding shards once: `latents-<name>.npy` beside the tokenizer, opened as `LatentEpisodes`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from worldeval.data.latents import LatentEpisodes
from worldeval.data.table import RecordedEpisodes
from worldeval.errors import UserError, did_you_mean
from worldeval.training.processes import this_process
from worldeval.world.tokenizer.fit import encode_all
from worldeval.world.tokenizer.network import FrameTokenizer

Copy = Callable[
    [RecordedEpisodes, Path], None
]  # brings latents of the shards, a row a frame, to a path


def encoded(
    tokenizer: FrameTokenizer,
    shards: RecordedEpisodes,
    tasks: tuple[str, ...],
    path: Path,
    copy: Copy | None = None,
) -> LatentEpisodes:
    """The episodes of `shards` with their latents, encoded now unless `path` holds them.

    `copy` writes what was encoded earlier instead.
    """
    for task in shards.tasks:
        if task not in tasks:
            raise UserError(
                f"The tokenizer never saw the task '{task}'.{did_you_mean(task, tasks)}"
            )
    missing = not path.is_file() or len(np.load(path, mmap_mode="r")) != len(shards.pose)
    process = this_process()
    process.wait_for_everyone()  # all have looked before one writes
    if missing and copy is None:
        encode_all(tokenizer, shards, tasks, path)
    if missing and copy is not None and process.is_main_process:
        copy(shards, path)
    process.wait_for_everyone()
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
