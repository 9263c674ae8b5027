"""The order in which people are asked for labels that matter, kept in the run.

The probability with which an episode was drawn follows from its weight and its random number, which
therefore must not change once labels were given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path

import numpy as np

from worldeval.axes import Array, Float
from worldeval.errors import UserError
from worldeval.files import write_json
from worldeval.runs.files import read_record
from worldeval.runs.labels import IMPORTANT, EpisodeKey, Opinion
from worldeval.runs.paths import RunPaths
from worldeval.stats.priority import by_priority, chances

REMEDY = "Remove the file to draw a new order; the labels stay."


@dataclass(frozen=True, kw_only=True)
class QueuedEpisode:
    """An episode with its weight, above 0, and its random number, above 0 and at most 1."""

    policy: str
    task: str
    start: str
    seed: int
    weight: float
    uniform: float

    @property
    def key(self) -> EpisodeKey:
        """Key of the episode, equal to `Filmstrip.key`."""
        return self.policy, self.task, self.start, self.seed


@dataclass(frozen=True)
class LabelQueue:
    """All episodes of a run, in the order in which they are asked for."""

    episodes: tuple[QueuedEpisode, ...] = ()

    def chances(self, opinions: Sequence[Opinion]) -> Mapping[EpisodeKey, float]:
        """Return the drawing probability of the episodes that were labelled without a gap.

        They end with the last label that the queue itself asked for: labels that were given for
        other reasons do not prolong it.
        """
        said = {opinion.key for opinion in opinions}
        asked = {opinion.key for opinion in opinions if opinion.drawn == IMPORTANT}
        taken = 0
        for place, episode in enumerate(self.episodes, start=1):
            if episode.key not in said:
                break
            taken = place if episode.key in asked else taken
        found = chances(*_numbers(self.episodes), taken).tolist()
        return dict(zip((each.key for each in self.episodes[:taken]), found, strict=True))


def in_order(episodes: Sequence[QueuedEpisode]) -> LabelQueue:
    """Return a queue of these episodes, by their priority."""
    return LabelQueue(tuple(episodes[place] for place in by_priority(*_numbers(episodes))))


def write_queue(run: Path, queue: LabelQueue) -> None:
    """Write the queue of a run."""
    write_json(RunPaths(run).label_queue, [asdict(each) for each in queue.episodes])


def read_queue(run: Path) -> LabelQueue:
    """Read the queue of a run; an empty one if nobody has asked for it yet.

    Raises:
        UserError: the file is damaged.
    """
    path = RunPaths(run).label_queue
    if not path.is_file():
        return LabelQueue()
    found = read_record(path, list[QueuedEpisode], remedy=REMEDY)
    for place, each in enumerate(found):
        if not (isfinite(each.weight) and each.weight > 0 and 0 < each.uniform <= 1):
            raise UserError(
                f"{path}, entry {place}: the weight is {each.weight} and the random number "
                f"{each.uniform}; they must be above 0, and the number at most 1. {REMEDY}"
            )
    return in_order(found)


def _numbers(
    episodes: Sequence[QueuedEpisode],
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    weight = np.array([each.weight for each in episodes], float)
    return weight, np.array([each.uniform for each in episodes], float)
