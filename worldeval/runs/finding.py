"""Search for runs below a folder, with the progress and result of each."""

from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

from worldeval.errors import UserError
from worldeval.recipe import shipped
from worldeval.runs.files import read_record
from worldeval.runs.origin import read_recipe
from worldeval.runs.paths import (
    FACTS,
    FILM_INDEX,
    FILMS,
    IMAGINED,
    LABELS,
    OUTCOMES,
    RECIPE,
    SECONDS,
    STARTS,
    SUMMARY,
    TRUTH,
    RunPaths,
)
from worldeval.runs.summary import Summary, find_summary

# Files that change while a run continues or is viewed.
WATCHED = (SUMMARY, *OUTCOMES.values(), f"{FILMS}/{FILM_INDEX}", FACTS, RECIPE, IMAGINED)
# Files that a viewer reads; film strips and batches are checked individually.
FILES = (*WATCHED, SECONDS, LABELS, STARTS, TRUTH, FILMS)
DEPTH = 3  # levels below the runs folder that are searched
LIMIT = 500  # runs
DRIVEN = "driven"  # kind of the recipe of episodes that were driven by hand, and their folder


@dataclass(frozen=True, kw_only=True)
class RunState:
    """One entry in a list of runs."""

    name: str  # its path below the runs folder
    folder: Path
    status: str  # 'ranked', 'under way', 'driven' (by hand, never ranked) or 'broken'
    detail: str  # explanation of the status
    episodes: int | None
    seconds: float | None
    best: str | None  # None if unknown, or if a claim is withheld
    progress: float | None = None  # share of imagined batches that are complete, while under way
    each: float | None = None  # CPU seconds per imagined episode
    changed: float = 0.0  # time of the last change to its files, in seconds since 1970


def find_runs(root: Path) -> list[RunState]:
    """Find all runs below `root`, newest first and those driven by hand last; links that leave it
    are not followed."""
    found: list[Path] = []
    level = [root]
    for _ in range(DEPTH):
        level = [child for folder in level for child in _folders(folder, root)]
        found += [folder for folder in level if _is_run(folder)]
        level = [folder for folder in level if not _is_run(folder)]
    found.sort(key=_changed, reverse=True)
    states = [run_state(folder, root) for folder in found[:LIMIT]]
    return sorted(states, key=lambda run: run.status == DRIVEN)


def check_inside(folder: Path, root: Path) -> None:
    """Refuse a run in which a file or folder is a link that leaves `root`.

    Raises:
        UserError: there is such a link; the error names it.
    """
    real = root.resolve()
    for name in (".", *FILES):
        path = folder / name
        if path.exists() and not path.resolve().is_relative_to(real):
            raise UserError(f"{path} points outside {root}, so it is not read.")


def run_state(folder: Path, root: Path) -> RunState:
    """Determine the state of a run, with the reason if it is broken."""
    name = folder.relative_to(root).as_posix()
    try:
        check_inside(folder, root)
        summary = find_summary(folder)
        if summary:
            return _ranked(name, folder, summary)
        return _driven(name, folder) or _under_way(name, folder)
    except UserError as error:
        return _state(name, folder, "broken", str(error))


def signature(folder: Path) -> tuple[int, ...]:
    """Return the times at which the files of a run last changed."""
    paths = [folder / name for name in WATCHED]
    return tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in paths)


def _driven(name: str, folder: Path) -> RunState | None:
    """The state of episodes that were driven by hand; None of a run."""
    if not RunPaths(folder).recipe.is_file() or read_recipe(folder).get("kind") != DRIVEN:
        return None
    episodes = len(list(RunPaths(folder).imagined.glob("[!.]*.npz")))
    return replace(_state(name, folder, "driven", "driven by hand"), episodes=episodes)


def _stage(folder: Path, imagined: int, simulated: int) -> str:
    """Say what a run was doing last, from the files that each stage leaves behind."""
    if not imagined:
        return "before its first batch of episodes"
    if not (folder / OUTCOMES[IMAGINED]).is_file() and not simulated:
        return "while imagining"
    if simulated and not (folder / OUTCOMES[TRUTH]).is_file():
        return "while simulating"
    return "while replaying recordings or computing the ranking"


def _under_way(name: str, folder: Path) -> RunState:
    sides = {side: len(list((folder / side).glob("[!.]*.*"))) for side in OUTCOMES}
    counts = ", ".join(f"{count} {side} batches" for side, count in sides.items() if count)
    done = _stage(folder, sides[IMAGINED], sides[TRUTH]) + (f" ({counts})" if counts else "")
    kept = RunPaths(folder).seconds
    spent = read_record(kept, dict[str, float]) if kept.is_file() else {}
    return replace(
        _state(name, folder, "under way", f"at work, or stopped {done}"),
        seconds=spent.get("total"),
        progress=_progress(folder, sides[IMAGINED]),
    )


def _progress(folder: Path, done: int) -> float | None:
    """Share of the recipe's batches that are complete; None if the recipe does not tell."""
    try:
        recipe = read_recipe(folder)
        starts = int(recipe["starts"]) * len(recipe["tasks"])
        policies = sum(_checkpoints(str(ref)) for ref in recipe["policies"])
        wanted = policies * ceil(starts / int(recipe["batch"]))
    except (UserError, KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return done / wanted if 0 < done <= wanted else None


def _checkpoints(ref: str) -> int:
    """Count the policies behind a reference of a recipe; a folder stands for those below it."""
    if any(mark in ref for mark in "*?["):
        raise ValueError("not counted, because its policies are given as a pattern")
    place = Path(shipped(ref))
    return len(list(place.rglob("policy.json"))) if place.is_dir() else 1


def _ranked(name: str, folder: Path, summary: Summary) -> RunState:
    refused = [found.code for found in summary.refusals]
    policies = summary.ranking.policies if summary.ranking else ()
    return RunState(
        name=name,
        folder=folder,
        status="ranked",
        detail=f"not a ranking: {', '.join(refused)}" if refused else "",
        episodes=summary.episodes,
        seconds=summary.seconds.get("total"),
        best=policies[0].policy if policies and not refused else None,
        each=summary.imagined_seconds_per_episode,
        changed=_changed(folder),
    )


def _state(name: str, folder: Path, status: str, detail: str) -> RunState:
    return RunState(
        name=name,
        folder=folder,
        status=status,
        detail=detail,
        episodes=None,
        seconds=None,
        best=None,
        changed=_changed(folder),
    )


def _is_run(folder: Path) -> bool:
    """Whether a folder has a summary, outcomes, or a rollout store with run facts beside it."""
    if (folder / SUMMARY).is_file() or any((folder / name).is_file() for name in OUTCOMES.values()):
        return True
    return (folder / FACTS).is_file() and (folder / IMAGINED).is_dir()


def _folders(folder: Path, root: Path) -> list[Path]:
    try:
        inside = sorted(child for child in folder.iterdir() if child.is_dir())
    except OSError:  # an unreadable folder is treated as holding no run
        return []
    real = root.resolve()
    return [c for c in inside if c.name[0] != "." and c.resolve().is_relative_to(real)]


def _changed(folder: Path) -> float:
    names = (SUMMARY, *OUTCOMES.values(), FACTS)
    return max(
        ((folder / name).stat().st_mtime for name in names if (folder / name).is_file()),
        default=0.0,
    )
