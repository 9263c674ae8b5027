"""Explain the difference of two policies of a run."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console

from worldeval.api.result import Result
from worldeval.evaluate.explain import Explained
from worldeval.evaluate.explain import explain as find
from worldeval.files import whole_file
from worldeval.record import Rollout
from worldeval.report.explanation import PAGE, choose_films, film_of, write_explanation_page
from worldeval.runs.explanation import Explanation, write_explanation
from worldeval.runs.films import Frames
from worldeval.runs.paths import RunPaths, plain_name

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class WrittenExplanation:
    """An explanation, and the folder with its page, films and numbers."""

    folder: Path
    explanation: Explanation

    @property
    def page(self) -> Path:
        """The page to open."""
        return self.folder / PAGE

    def __str__(self) -> str:
        return "\n".join(self.explanation.sentences)


def explain(
    run: str | Path | Result,
    first: str,
    second: str,
    *,
    task: str | None = None,
    films: int = 10,
    starts: int = 40,
    out: str | Path | None = None,
    simulator: bool = True,
    seed: int = 0,
    jobs: int | None = None,
    trust_pickle: bool = False,
    trust_code: bool = False,
    progress: bool | Say = True,
) -> WrittenExplanation:
    """Find where two policies of a run part: the decisive chunk of every start, and its phase.

    From each start at which one succeeds and the other fails, one policy acts until a moment and
    the other one from there. The chunk at which the outcome flips is the decisive one.

    Args:
        run: run folder, or a result that has one.
        first: name of a policy of the run.
        second: name of another one.
        task: look at this task only.
        films: number of films, the first policy above the second.
        starts: maximum number of starts to look at.
        out: folder for the page, the films and the numbers. Default: in `RUN/explain`.
        simulator: repeat the decisive hand-overs in the run's simulator, if there is one.
        seed: random seed of the choice of starts.
        jobs: number of processes of the simulator.
        trust_pickle: load pickled policies; loading a pickle executes code.
        trust_code: run policies and simulators of the run that are Python code.
        progress: whether to show progress, or a function that is told of it.

    Returns:
        The folder and the explanation: sentences, counts by phase, and every start.

    Raises:
        UserError: a policy is unknown or has changed, or the verdicts differ at fewer than six
            starts; the message says how many starts would do.

    >>> import worldeval as we
    >>> we.explain("toy/run", "a/step-1", "a/step-2", progress=False)
    Traceback (most recent call last):
        ...
    worldeval.errors.UserError: a/step-1 and a/step-2 ...
    """
    folder = run.folder if isinstance(run, Result) else Path(run)
    found = find(
        folder,
        first,
        second,
        task=task,
        starts=starts,
        simulator=simulator,
        seed=seed,
        processes=jobs,
        trust_pickle=trust_pickle,
        trust_code=trust_code,
        say=_say(progress),
    )
    name = "-vs-".join(plain_name(each) for each in (first, second))
    target = Path(out) if out is not None else RunPaths(folder).explanations / name
    explanation = write_films(found, target, films)
    write_explanation(target, explanation)
    write_explanation_page(explanation, target / PAGE)
    return WrittenExplanation(folder=target, explanation=explanation)


def write_films(found: Explained, folder: Path, count: int) -> Explanation:
    """Write films of the starts that show the difference best; returns where they are."""
    explanation, made = found.explanation, dict[str, str]()
    names = (explanation.first, explanation.second)
    for number, start in enumerate(choose_films(explanation, count), start=1):
        frames = {name: _frames(found, found.own[start.start][name]) for name in names}
        made[start.start] = f"films/{number:02d}.mp4"
        with whole_file(folder / made[start.start]) as draft:
            draft.write_bytes(film_of(start, names, frames))
    return replace(
        explanation,
        parted=tuple(replace(one, film=made.get(one.start, "")) for one in explanation.parted),
    )


def _frames(found: Explained, rollout: Rollout) -> Frames:
    latents = np.asarray(rollout.latents, np.float32)
    return found.world.render(latents, [rollout.task] * len(latents))


def _say(progress: bool | Say) -> Say:
    if not isinstance(progress, bool):
        return progress
    if not progress:
        return lambda _: None
    console = Console(stderr=True, markup=False, highlight=False)
    return lambda text: console.print(text, soft_wrap=True)
