"""Find LeRobot's checkpoints, and read run, step and name from their folders.

outputs/act/checkpoints/010000/pretrained_model/   config.json, model.safetensors, processors
                               training_state/     training_step.json
                        last -> 010000
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from glob import glob, has_magic
from pathlib import Path

from worldeval.errors import UserError, did_you_mean

MODEL, STATE, RUNS = "pretrained_model", "training_state/training_step.json", "checkpoints"
CONFIG, BEFORE = "config.json", "policy_preprocessor.json"


@dataclass(frozen=True, kw_only=True)
class CheckpointPlace:
    """One LeRobot checkpoint."""

    folder: str  # with config.json; or a hub id
    name: str  # run/010000
    lineage: str  # the run
    step: int


def located(source: str) -> CheckpointPlace:
    """Find the checkpoint `source` names: a folder, the one above `pretrained_model`, or hub id.

    Raises:
        UserError: there is no such folder, or it holds several checkpoints or none.
    """
    path = Path(source)
    if not path.is_dir():
        if _is_hub_id(source):
            return CheckpointPlace(folder=source, name=source, lineage=source, step=0)
        raise UserError(f"lerobot:{source}: there is no such folder.{_near(path)}")
    found = _inside(path)
    if len(found) != 1:
        several = (
            f"{len(found)} checkpoints; name one, such as lerobot:{found[-1]}" if found else ""
        )
        nothing = f"no checkpoint (no {CONFIG} and no {MODEL}/)"
        raise UserError(f"lerobot:{source} contains {several or nothing}.")
    return _place(found[0])


def expanded(pattern: str) -> list[CheckpointPlace] | None:
    """List every checkpoint that a glob or a run folder names, by run and step, without duplicates.

    Names include as many parent folders as needed to be unique. Returns None if `pattern` names a
    single checkpoint, or a model on the hub.
    """
    if has_magic(pattern) and not Path(pattern).is_dir():
        folders = [
            Path(found) for found in sorted(glob(pattern, recursive=True)) if Path(found).is_dir()
        ]
        if not folders:
            raise UserError(f"No LeRobot checkpoint matches {pattern}.{_near(Path(pattern))}")
    elif Path(pattern).is_dir():
        folders = [Path(pattern)]
    else:
        return None
    once: dict[Path, Path] = {}
    for place in (inside for folder in folders for inside in _inside(folder)):
        known = once.get(place.resolve())
        # `last` is a link to one of the others, whose own name is more informative.
        if known is None or _linked(known) > _linked(place):
            once[place.resolve()] = place
    if not once:
        raise UserError(
            f"{pattern} contains no LeRobot checkpoint (no {CONFIG} and no {MODEL}/ in it)."
        )
    if len(once) == 1 and not has_magic(pattern) and _inside(Path(pattern)) == [Path(pattern)]:
        return None
    places = _told_apart([_place(folder) for folder in once.values()])
    return sorted(places, key=lambda one: (one.lineage, one.step, one.folder))


def training_step(folder: Path) -> int:
    """The training step of a checkpoint; from its folder's name, or 0, if it is not stored."""
    try:
        content = json.loads((folder.parent / STATE).read_text())
        if isinstance(content, dict) and type(content.get("step")) is int:
            return content["step"]
    except (OSError, ValueError):
        pass
    name = folder.parent.resolve().name if folder.name == MODEL else folder.resolve().name
    return int(name) if name.isdigit() else 0


def _inside(folder: Path) -> list[Path]:
    """The checkpoint in a folder, or all checkpoints of the run in it."""
    for candidate in (folder, folder / MODEL):
        if (candidate / CONFIG).is_file():
            return [candidate]
    runs = folder / RUNS if (folder / RUNS).is_dir() else folder
    inside = [one / MODEL for one in sorted(runs.iterdir()) if (one / MODEL / CONFIG).is_file()]
    real = [one for one in inside if not one.parent.is_symlink()]
    return real or inside[:1]


def _place(folder: Path) -> CheckpointPlace:
    own = folder.parent if folder.name == MODEL else folder
    step = training_step(folder)
    if own.parent.name == RUNS:
        run = own.parent.resolve().parent.name
        # The target of `last` is more informative than the name `last`.
        return CheckpointPlace(
            folder=str(folder), name=f"{run}/{own.resolve().name}", lineage=run, step=step
        )
    name = own.resolve().name
    return CheckpointPlace(folder=str(folder), name=name, lineage=name, step=step)


def _told_apart(places: Sequence[CheckpointPlace]) -> list[CheckpointPlace]:
    """Add parent folders to the names of runs that share a name."""
    runs = {(one.lineage, _run(one)) for one in places}
    twice = {name for name, count in Counter(name for name, _ in runs).items() if count > 1}
    out = []
    for one in places:
        if one.lineage in twice:
            above = _run(one).parent.name
            one = replace(one, name=f"{above}/{one.name}", lineage=f"{above}/{one.lineage}")
        out.append(one)
    return out


def _run(place: CheckpointPlace) -> Path:
    folder = Path(place.folder).resolve()
    own = folder.parent if folder.name == MODEL else folder
    return own.parent.parent if own.parent.name == RUNS else own


def _linked(folder: Path) -> bool:
    return folder.is_symlink() or folder.parent.is_symlink()


def _is_hub_id(source: str) -> bool:
    parts = source.split("/")
    plain = all(part and not part.startswith((".", "~")) for part in parts)
    return len(parts) <= 2 and plain and not Path(parts[0]).exists()


def _near(path: Path) -> str:
    """Suggest names in the nearest existing parent folder."""
    wrong, parent = path, path.parent
    while not parent.is_dir():
        wrong, parent = parent, parent.parent
    hint = did_you_mean(wrong.name, [one.name for one in parent.iterdir() if one.is_dir()])
    return f" In {parent}:{hint}" if hint else ""
