"""Mix recorded episodes into an exported dataset; their provenance marks them as recorded."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from worldeval.data.source import Source
from worldeval.errors import UserError
from worldeval.record import Episode
from worldeval.world.protocol import WorldSpec


def of_training(source: Source) -> list[int]:
    """Indices of the episodes that are not held out, so that test data stay unseen."""
    return [index for index, head in enumerate(source.heads) if head.split == "train"]


def recorded_count(imagined: int, ratio: float, available: int) -> int:
    """Number of recorded episodes that make up `ratio` of all, next to `imagined` ones.

    Raises:
        UserError: the ratio is not in [0, 1), or there are too few recorded episodes.
    """
    if not 0 <= ratio < 1:
        raise UserError(f"--ratio {ratio} must be at least 0 and below 1: the recorded share.")
    count = round(imagined * ratio / (1 - ratio))
    if count > available:
        most = available / (available + imagined)
        raise UserError(
            f"A recorded share of {ratio:g} next to {imagined} imagined episodes needs {count} "
            f"recorded ones, but there are {available}. Lower --ratio to "
            f"{np.floor(most * 100) / 100:g}, or use a stricter --select."
        )
    return count


def recorded_episodes(
    source: Source, spec: WorldSpec, count: int, rng: np.random.Generator
) -> Iterator[tuple[Episode, Mapping[str, Any]]]:
    """Draw `count` training episodes without replacement, with provenance, in recorded order.

    Raises:
        UserError: views, dimensions or rate are not those of the world model.
    """
    views = source.choose(spec.views)
    found = {
        "views": {view: tuple(source.spec.views[view]) for view in views},
        "action dimensions": len(source.spec.action_names),
        "pose dimensions": len(source.spec.pose_names),
        "frames per second": float(source.spec.fps),
    }
    needed = {
        "views": dict.fromkeys(views, tuple(spec.size)),
        "action dimensions": spec.action_dim,
        "pose dimensions": spec.pose_dim,
        "frames per second": float(spec.fps),
    }
    for name, value in needed.items():
        if found[name] != value:
            raise UserError(
                f"--mix {source.spec.path}: its {name} are {found[name]}, but the imagined "
                f"episodes have {value}. Mix in the dataset that the world model was trained on."
            )
    for index in np.sort(rng.choice(of_training(source), count, replace=False)).tolist():
        episode = source.episode(index, views)
        yield (
            episode,
            {
                "origin": "recorded",
                "world_model": None,
                "policy": episode.source or "unknown",
                "seed": None,
                "start": episode.id,
                "judge": None,
                "probability": None,
                "trust": None,
            },
        )
