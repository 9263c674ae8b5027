"""Held-out episodes of a dataset, chosen by the same rule for everything that trains."""

from collections.abc import Sequence

import numpy as np

from worldeval.axes import Array, Bool
from worldeval.data.source import Head, Source
from worldeval.errors import UserError, did_you_mean

TRAINING = "train"  # every other split of a dataset is held out


def held_out(source: Source, *, share: float, ids: Sequence[str] = (), seed: int) -> Array:
    """Choose held-out episodes; returns a boolean per episode, true if it is held out.

    The episodes `ids` are held out. If there are none, the dataset's own splits other than 'train'
    are; if it has no splits, a random `share` of all episodes, stratified by task (see `drawn`).

    Raises:
        UserError: an id is not in the data.
    """
    heads = source.heads
    known = {head.id for head in heads}
    for name in ids:
        if name not in known:
            raise UserError(
                f"The held-out episode '{name}' is not in {source.spec.path}."
                f"{did_you_mean(name, known)}"
            )
    if ids:
        return np.array([head.id in ids for head in heads], bool)
    own = np.array([head.split != TRAINING for head in heads], bool)
    return own if own.any() else drawn(heads, share=share, seed=seed)


def drawn(heads: Sequence[Head], *, share: float, seed: int) -> Bool[Array, " e"]:
    """Draw a random `share` of the episodes, at least one if there are two or more.

    A task gives its own share if that is at least one episode. Smaller tasks (such as free text,
    different for every episode) form one group, because one episode of each would be far more than
    `share` of them.
    """
    rng = np.random.default_rng(seed)
    held = np.zeros(len(heads), bool)
    tasks = np.array([head.task for head in heads])
    names, counts = np.unique(tasks, return_counts=True)
    large = names[share * counts >= 1]
    for task in large:
        here = np.flatnonzero(tasks == task)
        held[rng.choice(here, round(share * len(here)), replace=False)] = True
    rest = np.flatnonzero(~np.isin(tasks, large))
    count = round(share * len(rest))
    if not len(large) and share > 0 and len(rest) > 1:
        count = max(1, count)
    held[rng.choice(rest, count, replace=False)] = True
    return held


def refuse_empty(held: Bool[Array, " e"], source: Source) -> None:
    """Refuse a split without training episodes, or without held-out ones."""
    out, left = int(held.sum()), int((~held).sum())
    if not out or not left:
        raise UserError(
            f"{source.spec.path} has {out} held-out and {left} training episodes, but at least one "
            "of each is needed. Add episodes, or change held_out_share or the splits."
        )
