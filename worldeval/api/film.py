"""Render imagined episodes of a run as film strips."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from worldeval.api.result import Result
from worldeval.errors import UserError
from worldeval.evaluate import develop
from worldeval.evaluate.label_queue import next_to_render
from worldeval.runs.episodes import read_episodes
from worldeval.runs.films import Filmstrip
from worldeval.runs.paths import RunPaths


@dataclass(frozen=True, kw_only=True)
class RenderedFilms:
    """The film strips that were rendered."""

    folder: Path
    strips: list[Filmstrip]


def film(
    run: str | Path | Result,
    episodes: Sequence[str] = (),
    *,
    draw: int = 0,
    important: int = 0,
    real: bool = False,
    trust_pickle: bool = False,
    trust_code: bool = False,
    seed: int = 0,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RenderedFilms:
    """Render imagined episodes as film strips, for the report, the viewer and labels.

    Args:
        run: a run folder, or a result.
        episodes: episodes to render, as `POLICY/START/SEED`.
        draw: number of additional random episodes to render for labelling.
        important: number of further episodes to render whose labels matter most.
        real: also run the episodes in the simulator and show them side by side.
        trust_pickle: load pickled policies; loading a pickle executes any code in it.
        trust_code: with `real`, execute policies of the run that are Python code.
        seed: random seed of the draw.
        jobs: number of processes for the simulator. Default: one per core.
        progress: function that is called with the number of finished strips and their total.

    Returns:
        The film strips: for each, its files, the verdict, and the outcome if it is known.

    Raises:
        UserError: no episode is given, an episode is missing, the world model cannot render, or
            `real` would execute code that is not trusted.

    >>> import worldeval as we
    >>> [strip.drawn for strip in we.film("toy/run", draw=1).strips]
    [True]
    """
    folder = run.folder if isinstance(run, Result) else Path(run)
    drawn = develop.draw(folder, draw, rng=np.random.default_rng(seed)) if draw else []
    queued = next_to_render(folder, read_episodes(folder), important) if important else []
    total = len(episodes) + len(queued) + len(drawn)
    if important and not total:
        raise UserError("Every episode of this run is rendered already.")
    if not total:
        raise UserError(
            "No episode is given. Name one (POLICY/START/SEED), or draw some with --draw 20 or "
            "--important 20."
        )
    strips: list[Filmstrip] = []
    for names, random in (([*episodes, *queued], False), (drawn, True)):
        before = len(strips)
        if names:
            strips += develop.develop(
                folder,
                names,
                drawn=random,
                real=real,
                processes=jobs or os.cpu_count() or 1,
                trust_pickle=trust_pickle,
                trust_code=trust_code,
                progress=_after(before, total, progress),
            )
    return RenderedFilms(folder=RunPaths(folder).films, strips=strips)


def _after(
    before: int, total: int, progress: Callable[[int, int], None] | None
) -> Callable[[int, int], None] | None:
    """Count on from the strips that were rendered before."""
    return None if progress is None else lambda done, _: progress(before + done, total)
