"""The ranking runs of a folder: what there is, how far each is, and what it found."""

from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import yaml

from worldeval.errors import UserError
from worldeval.recipe import shipped
from worldeval.report.contents import FACTS, OUTCOMES, RECIPE, SUMMARY
from worldeval.report.filmstrip import FOLDER as FILMS
from worldeval.report.filmstrip import INDEX
from worldeval.report.number import number
from worldeval.report.opinions import FILE as LABELS
from worldeval.run import read_json

SECONDS = "seconds.json"
# What a viewer reads of a run; film strips and batches are checked one by one.
FILES = (
    SUMMARY, *OUTCOMES.values(), FACTS, RECIPE, SECONDS, LABELS, "starts.h5", "imagined", "truth",
    FILMS, f"{FILMS}/{INDEX}",
)  # fmt: skip
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
        summary = read_json(folder / SUMMARY) if (folder / SUMMARY).is_file() else None
    except UserError as error:
        return _state(name, folder, "broken", str(error))
    if isinstance(summary, dict):
        return _ranked(name, folder, summary)
    if summary is not None:
        return _state(name, folder, "broken", f"{SUMMARY} holds no JSON object.")
    return _under_way(name, folder)


def _under_way(name: str, folder: Path) -> RunState:
    sides = {side: len(list((folder / side).glob("[!.]*.*"))) for side in ("imagined", "truth")}
    done = ", ".join(f"{count} {side} batches" for side, count in sides.items() if count)
    spent = read_json(folder / SECONDS) if (folder / SECONDS).is_file() else {}
    total = number(spent.get("total")) if isinstance(spent, dict) else None
    return replace(
        _state(name, folder, "under way", done or "nothing is done yet"),
        seconds=total.value if total else None,
        progress=_progress(folder, sides["imagined"]),
    )


def _progress(folder: Path, done: int) -> float | None:
    """Batches done of those that the recipe asks for; None where that cannot be told from it."""
    path = folder / RECIPE
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
        starts = int(recipe["starts"]) * len(recipe["tasks"])
        policies = sum(_checkpoints(str(ref)) for ref in recipe["policies"])
        wanted = policies * ceil(starts / int(recipe["batch"]))
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return done / wanted if 0 < done <= wanted else None


def _checkpoints(ref: str) -> int:
    """How many policies a reference of a recipe stands for: a folder for those below it."""
    if any(mark in ref for mark in "*?["):
        raise ValueError("a glob is not counted")
    place = Path(shipped(ref))
    return len(list(place.rglob("policy.json"))) if place.is_dir() else 1


def _ranked(name: str, folder: Path, summary: dict[str, Any]) -> RunState:
    ranking, findings = summary.get("ranking"), summary.get("findings")
    refused = [
        item.get("code", "")
        for item in (findings if isinstance(findings, list) else [])
        if isinstance(item, dict) and item.get("severity") == "refusal"
    ]
    policies = ranking.get("policies") if isinstance(ranking, dict) else None
    first = policies[0] if isinstance(policies, list) and policies else None
    best = str(first.get("policy")) if isinstance(first, dict) and not refused else None
    spent = summary.get("seconds")
    episodes = number(summary.get("episodes"))
    total = number(spent.get("total")) if isinstance(spent, dict) else None
    each = number(summary.get("imagined_seconds_per_episode"))
    return RunState(
        name=name,
        folder=folder,
        status="ranked",
        detail=f"not a ranking: {', '.join(refused)}" if refused else "",
        episodes=int(episodes.value) if episodes and episodes.value is not None else None,
        seconds=total.value if total else None,
        best=best,
        each=each.value if each else None,
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
    return (folder / "run.json").is_file() and (folder / "imagined").is_dir()


def _folders(folder: Path, root: Path) -> list[Path]:
    try:
        inside = sorted(child for child in folder.iterdir() if child.is_dir())
    except OSError:  # a folder that may not be read holds no run of ours
        return []
    real = root.resolve()
    return [c for c in inside if c.name[0] != "." and c.resolve().is_relative_to(real)]


def _changed(folder: Path) -> float:
    names = (SUMMARY, *OUTCOMES.values(), "run.json")
    return max(
        ((folder / name).stat().st_mtime for name in names if (folder / name).is_file()),
        default=0.0,
    )
