"""The runs of a folder: what there is, how far each is, and what it found."""

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

# Files that change as a run goes on or is looked at.
WATCHED = (SUMMARY, *OUTCOMES.values(), f"{FILMS}/{FILM_INDEX}", FACTS, RECIPE, IMAGINED)
# What a viewer reads of a run; film strips and batches are checked one by one.
FILES = (*WATCHED, SECONDS, LABELS, STARTS, TRUTH, FILMS)
DEPTH = 3  # folders below the runs folder in which a run is looked for
LIMIT = 500  # runs


@dataclass(frozen=True, kw_only=True)
class RunState:
    """One run, as a list of runs shows it."""

    name: str  # its path below the runs folder
    folder: Path
    status: str  # 'ranked', 'under way' or 'broken'
    detail: str  # what the status means here
    episodes: int | None
    seconds: float | None
    best: str | None  # None while unknown, or where a claim is withheld
    progress: float | None = None  # share of the imagined batches that are done, while under way
    each: float | None = None  # CPU seconds of an imagined episode
    changed: float = 0.0  # when a file of it was last written, in seconds since 1970


def find_runs(root: Path) -> list[RunState]:
    """Every ranking run below `root`, newest first; links that leave it are not followed."""
    found: list[Path] = []
    level = [root]
    for _ in range(DEPTH):
        level = [child for folder in level for child in _folders(folder, root)]
        found += [folder for folder in level if _is_run(folder)]
        level = [folder for folder in level if not _is_run(folder)]
    found.sort(key=_changed, reverse=True)
    return [run_state(folder, root) for folder in found[:LIMIT]]


def check_inside(folder: Path, root: Path) -> None:
    """Refuse a run of which a file or folder is a link that leaves `root`.

    Raises:
        UserError: one does; it is named.
    """
    real = root.resolve()
    for name in (".", *FILES):
        path = folder / name
        if path.exists() and not path.resolve().is_relative_to(real):
            raise UserError(f"{path} leads out of {root}, and is not read.")


def run_state(folder: Path, root: Path) -> RunState:
    """How far a run is; a broken one says why."""
    name = folder.relative_to(root).as_posix()
    try:
        check_inside(folder, root)
        summary = find_summary(folder)
        return _ranked(name, folder, summary) if summary else _under_way(name, folder)
    except UserError as error:
        return _state(name, folder, "broken", str(error))


def signature(folder: Path) -> tuple[int, ...]:
    """When the files of a run last changed."""
    paths = [folder / name for name in WATCHED]
    return tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in paths)


def _under_way(name: str, folder: Path) -> RunState:
    sides = {side: len(list((folder / side).glob("[!.]*.*"))) for side in OUTCOMES}
    done = ", ".join(f"{count} {side} batches" for side, count in sides.items() if count)
    kept = RunPaths(folder).seconds
    spent = read_record(kept, dict[str, float]) if kept.is_file() else {}
    return replace(
        _state(name, folder, "under way", done or "nothing is done yet"),
        seconds=spent.get("total"),
        progress=_progress(folder, sides[IMAGINED]),
    )


def _progress(folder: Path, done: int) -> float | None:
    """Batches done of those that the recipe asks for; None where that cannot be told from it."""
    try:
        recipe = read_recipe(folder)
        starts = int(recipe["starts"]) * len(recipe["tasks"])
        policies = sum(_checkpoints(str(ref)) for ref in recipe["policies"])
        wanted = policies * ceil(starts / int(recipe["batch"]))
    except (UserError, KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return done / wanted if 0 < done <= wanted else None


def _checkpoints(ref: str) -> int:
    """How many policies a reference of a recipe stands for: a folder for those below it."""
    if any(mark in ref for mark in "*?["):
        raise ValueError("a glob is not counted")
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
    """A summary, outcomes, or a rollout store with the facts of a run beside it."""
    if (folder / SUMMARY).is_file() or any((folder / name).is_file() for name in OUTCOMES.values()):
        return True
    return (folder / FACTS).is_file() and (folder / IMAGINED).is_dir()


def _folders(folder: Path, root: Path) -> list[Path]:
    try:
        inside = sorted(child for child in folder.iterdir() if child.is_dir())
    except OSError:  # a folder that may not be read holds no run of ours
        return []
    real = root.resolve()
    return [c for c in inside if c.name[0] != "." and c.resolve().is_relative_to(real)]


def _changed(folder: Path) -> float:
    names = (SUMMARY, *OUTCOMES.values(), FACTS)
    return max(
        ((folder / name).stat().st_mtime for name in names if (folder / name).is_file()),
        default=0.0,
    )
