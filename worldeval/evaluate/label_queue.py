# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
"""Which episodes people should label first: uncertain verdicts of policies that matter.

Every episode has a weight and is drawn by priority sampling (`stats/priority.py`): important ones
come early, and because the probability of each is known, rates can still use the labels.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from worldeval.axes import Array, Float
from worldeval.evaluate.next_trials import worth_knowing
from worldeval.runs.episodes import EpisodeTable, identity
from worldeval.runs.films import read_filmstrips
from worldeval.runs.label_queue import LabelQueue, QueuedEpisode, in_order, read_queue, write_queue
from worldeval.runs.paths import RunPaths

# Weight of an episode whose label would tell least, where 1 tells most. It bounds how much a single
# label can count.
LEAST = 0.1


def label_queue(run: Path, episodes: EpisodeTable) -> LabelQueue:
    """Return the queue of a run, which is made once and kept.

    Episodes that the run has gained since are added; what it has lost is left out.

    Raises:
        UserError: the file of the queue is damaged.
    """
    kept = read_queue(run)
    table = episodes.table[episodes.table["file"] != ""]
    weight = weights(table, worth_knowing(run))
    names = zip(
        *(table[name].tolist() for name in ("policy", "task", "start", "seed")), strict=True
    )
    current = [
        QueuedEpisode(
            policy=policy, task=task, start=start, seed=int(seed), weight=float(own),
            uniform=_uniform(f"{policy}\0{task}\0{start}\0{int(seed)}"),
        )
        for (policy, task, start, seed), own in zip(names, weight, strict=True)
    ]  # fmt: skip
    known = {each.key: each for each in kept.episodes}
    queue = in_order([known.get(each.key, each) for each in current])
    if queue != kept:
        write_queue(run, queue)
    return queue


def weights(table: pd.DataFrame, worth: Mapping[str, float]) -> Float[Array, " n"]:
    """Return how much the label of each episode tells, `LEAST` to 1.

    2 sqrt(p (1 - p)), the standard deviation of the outcome by the judge's own probability, is the
    best weight for correcting a rate (Neyman allocation). Judges that disagree, and an episode
    without a verdict, count as uncertain too.

    Args:
        table: policy and score, and the disagreement of the judge's votes if it is known.
        worth: policy -> how much is gained by knowing it better, 0 to 1; 1 if it is not listed.
    """
    score = table["score"].to_numpy(float)
    score = np.where(np.isnan(score), 0.5, score.clip(0, 1))
    doubt = 2 * np.sqrt(score * (1 - score))
    if "disagreement" in table:
        doubt = np.maximum(doubt, np.nan_to_num(table["disagreement"].to_numpy(float)).clip(0, 1))
    policy = np.array([worth.get(name, 1.0) for name in table["policy"]])
    return LEAST + (1 - LEAST) * doubt * policy


def next_to_render(run: Path, episodes: EpisodeTable, count: int) -> list[str]:
    """Return the ids of the next episodes of the queue that have no film strip yet."""
    rendered = {strip.key for strip in read_filmstrips(RunPaths(run).films)}
    queue = label_queue(run, episodes)
    return [identity(*each.key) for each in queue.episodes if each.key not in rendered][:count]


def _uniform(name: str) -> float:
    """Return a random number in (0, 1] that belongs to an episode for ever."""
    return (int.from_bytes(hashlib.sha256(name.encode()).digest()[:6]) + 1) / 2**48
