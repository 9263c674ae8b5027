# h5py types every item as a group, dataset or datatype.
# pyright: reportArgumentType=false
"""Layout of a shard, and writing of shards from simulator episodes.

A shard gets its final name only when it is complete, so that an interrupted collection resumes
where it stopped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from worldeval.axes import Array, UInt8
from worldeval.data.table import code
from worldeval.record import Episode
from worldeval.sealed_hdf5 import whole_hdf5

TEXT = h5py.string_dtype()
ACTION_NAMES, POSE_NAMES = "action_names", "pose_names"  # attributes, if dimensions have names


@dataclass(frozen=True, kw_only=True)
class ShardEpisode:
    """An episode with the simulator's seed and success flag of every frame, for a shard."""

    episode: Episode
    flags: UInt8[Array, " t"]  # 1 if the simulator reports success at that frame
    seed: int  # of the simulator's reset


def write_shard(path: Path, items: Sequence[ShardEpisode]) -> None:
    """Write whole episodes to one new file."""
    first = items[0].episode
    lengths = np.array([len(item.episode) for item in items], np.int32)
    with whole_hdf5(path) as file:
        file.attrs["fps"] = first.fps
        for view in first.frames:
            # Contiguous and uncompressed, so that a reader can map it into memory.
            frames = np.concatenate([item.episode.frames[view] for item in items])
            file.create_dataset(f"frames/{view}", data=frames)
        file["actions"] = np.concatenate([item.episode.actions for item in items])
        file["pose"] = np.concatenate([item.episode.pose for item in items])
        file["flags"] = np.concatenate([item.flags for item in items])
        table = file.create_group("episodes")
        episodes = [item.episode for item in items]
        table["id"] = np.array([episode.id for episode in episodes], TEXT)
        table["task"] = np.array([episode.task for episode in episodes], TEXT)
        table["source"] = np.array([episode.source for episode in episodes], TEXT)
        table["success"] = np.array([code(episode.success) for episode in episodes], np.int8)
        table["seed"] = np.array([item.seed for item in items], np.int64)
        table["length"] = lengths
