"""Which episodes of a dataset are kept from training: one rule for everything that trains."""

from collections.abc import Sequence

import numpy as np

from worldeval.axes import Array, Bool
from worldeval.data.source import Head, Source
from worldeval.errors import UserError, did_you_mean

TRAINING = "train"  # every other split of a dataset is held out


def held_out(source: Source, *, share: float, ids: Sequence[str] = (), seed: int) -> Array:
    """A boolean per episode: true where it is kept from training.

    Named `ids` are held out; where none is named, the dataset's own splits other than 'train';
    where it has none, a random `share` of all episodes, stratified by task (see `drawn`).

    Raises:
        UserError: an id is not in the data.
    """
    heads = source.heads
    known = {head.id for head in heads}
    for name in ids:
        if name not in known:
            raise UserError(
                f"Episode '{name}', to be held out, is not in {source.spec.path}."
                f"{did_you_mean(name, known)}"
            )
    if ids:
        return np.array([head.id in ids for head in heads], bool)
    own = np.array([head.split != TRAINING for head in heads], bool)
    return own if own.any() else drawn(heads, share=share, seed=seed)


def drawn(heads: Sequence[Head], *, share: float, seed: int) -> Bool[Array, " e"]:
    """A random `share` of the episodes, at least one where there are two or more.

    A task of which `share` is at least one whole episode gives its own share. Smaller tasks (free
    words, another text for every episode) are one group together: one episode of each would be far
    more than `share` of them all.
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
    """Refuse a split with nothing to train on, or nothing to measure on."""
    out, left = int(held.sum()), int((~held).sum())
    if not out or not left:
        raise UserError(
            f"{source.spec.path} holds out {out} of its episodes and trains on {left}: it takes at "
            "least one of each. Give more episodes, another held_out share, or other splits."
        )
