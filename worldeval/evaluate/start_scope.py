"""Fit the start frames of a passport, and test new starts against them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from worldeval.errors import UserError
from worldeval.record import Start
from worldeval.rollout.start_frames import (
    LEAST,
    WORDS,
    StartFit,
    fit_starts,
    read_start_fit,
)
from worldeval.runs.checksums import digest
from worldeval.runs.passport import FRAMES, Passport, StartScope
from worldeval.stats import novelty
from worldeval.world.world import World

FEWEST = novelty.held_out_needed(novelty.WORST)  # held-out starts


@dataclass(frozen=True, kw_only=True)
class StartTest:
    """One start against the start frames of a passport."""

    start: str
    task: str
    p: float  # conformal p-value
    outside: bool  # p is at most the passport's false-alarm rate
    view: str  # where the start differs most
    block: str  # 'latent', 'colour', 'edge' or 'background'

    def said(self) -> str:
        """Describe the start in a few words."""
        return f"{self.start} ({WORDS.get(self.block, self.block)} of view {self.view})"


def halves(starts: Sequence[Start], *, rng: np.random.Generator) -> tuple[list[Start], list[Start]]:
    """Divide starts at random into those to fit and those held out, half of every task each."""
    fitting, held = [], []
    for task in sorted({start.task for start in starts}):
        own = [start for start in starts if start.task == task]
        order = rng.permutation(len(own))
        fitting += [own[k] for k in order[: len(own) // 2]]
        held += [own[k] for k in order[len(own) // 2 :]]
    return fitting, held


def start_scope(
    world: World,
    fitting: Sequence[Start],
    held_out: Sequence[Start],
    folder: Path,
    *,
    source: str,
    rng: np.random.Generator,
) -> StartScope | None:
    """Fit start frames, and fix the false-alarm rate on starts that fitted nothing.

    Writes `passport.safetensors` to `folder`. Returns None if there are too few starts: at least 10
    to fit and 19 held out (a false-alarm rate of 5%); 99 held out allow 1%.
    """
    rate = novelty.reachable_rate(len(held_out))
    if rate is None or len(fitting) < LEAST:
        return None
    fit_starts(world, fitting, rng=rng).save(folder / FRAMES)
    fit = read_start_fit(folder / FRAMES)  # as it is stored
    distances = [one.distance for one in fit.distances(world, held_out)]
    return StartScope(
        fitted=len(fitting),
        source=source,
        rate=rate,
        held_out=tuple(sorted(round(value, 4) for value in distances)),
    )


def tested_starts(
    passport: Passport, folder: Path, starts: Sequence[Start], world: Callable[[], World]
) -> list[StartTest]:
    """Test starts against a passport; empty if it holds no start frames.

    Raises:
        UserError: the file of start frames is missing or not the passport's.
    """
    scope = passport.scope.starts
    if scope is None or scope.rate is None:
        return []
    fit = _own_fit(passport, folder)
    found = fit.distances(world(), starts)
    p = novelty.conformal_p([one.distance for one in found], scope.held_out)
    return [
        StartTest(
            start=one.start,
            task=one.task,
            p=float(value),
            outside=bool(value <= scope.rate + 1e-12),
            view=one.view,
            block=one.block,
        )
        for one, value in zip(found, p, strict=True)
    ]


def _own_fit(passport: Passport, folder: Path) -> StartFit:
    path = folder / FRAMES
    said = [file.sha256 for file in passport.files if file.name == FRAMES]
    if not path.is_file() or said != [digest(path)]:
        raise UserError(
            f"{path} is missing or not the one that the passport beside it was made with, so start "
            "frames cannot be tested. Take both files from one copy, or make the passport anew: "
            "worldeval passport make RUN."
        )
    return read_start_fit(path)
