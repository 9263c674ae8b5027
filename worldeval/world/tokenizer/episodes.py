"""Combine recorded episodes with their cached latents; windows are cut from the result."""

from collections.abc import Sequence

import numpy as np

from worldeval.data.latent_cache import LatentCache
from worldeval.data.latents import LatentEpisodes
from worldeval.data.row_files import RowFiles
from worldeval.data.table import RecordedEpisodes
from worldeval.errors import UserError
from worldeval.world.protocol import ANY_TASK
from worldeval.world.tokenizer.frames import task_place


def latent_episodes(
    recorded: RecordedEpisodes, caches: Sequence[LatentCache], tasks: tuple[str, ...]
) -> LatentEpisodes:
    """Open the episodes with their latents left on disk; `caches` are those of their datasets.

    An episode ends with its latents, which may be before its last frame.

    Raises:
        UserError: the latents of two datasets have different shapes.
    """
    first = caches[0]
    for cache in caches:
        if cache.rows.shape[1:] != first.rows.shape[1:]:
            raise UserError(
                f"{cache.source} has latents of shape {cache.rows.shape[1:]}, but "
                f"{first.source} has {first.rows.shape[1:]} (view, channel, height, "
                "width). Encode all datasets of one world model with the same encoder."
            )
    length = np.concatenate([cache.lengths for cache in caches])
    begin = recorded.episodes["begin"].to_numpy()
    actions, pose, flags = recorded.actions, recorded.pose, recorded.flags
    if (length != recorded.episodes["length"].to_numpy()).any():
        spans = [
            np.arange(first, first + count) for first, count in zip(begin, length, strict=True)
        ]
        kept = np.concatenate(spans)
        actions, pose, flags = actions[kept], pose[kept], flags[kept]
    known = recorded.labelled
    return LatentEpisodes(
        latents=RowFiles([file for cache in caches for file in cache.rows.files]),
        actions=actions,
        pose=pose,
        task=np.array([task_place(tasks, head.task) for head in recorded.heads], np.int64),
        begin=np.cumsum(length) - length,
        length=length,
        flags=flags if known.any() else None,
        labelled=known,
        timed=recorded.timed,
        ids=tuple(head.id for head in recorded.heads),
        drivers=tuple(head.source for head in recorded.heads),
        instructions=tuple(h.task for h in recorded.heads) if tasks == (ANY_TASK,) else None,
    )
