"""Where LeRobot keeps its checkpoints, and what the folders say: run, step, name.

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
    """One checkpoint of LeRobot."""

    folder: str  # with config.json; or a hub id
    name: str  # run/010000
    lineage: str  # the run
    step: int


def located(source: str) -> CheckpointPlace:
    """The checkpoint that `source` names: a folder (also that above `pretrained_model`) or hub id.

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
            f"{len(found)} checkpoints: name one, such as lerobot:{found[-1]}" if found else ""
        )
        nothing = f"no checkpoint (no {CONFIG} and no {MODEL}/)"
        raise UserError(f"lerobot:{source} holds {several or nothing}.")
    return _place(found[0])


def expanded(pattern: str) -> list[CheckpointPlace] | None:
    """Every checkpoint that a glob or a run folder names, by run and step; each one once.

    Their names are told apart by as many folders as it takes. None where `pattern` names a single
    one, or a model of the hub.
    """
    if has_magic(pattern) and not Path(pattern).is_dir():
        folders = [Path(found) for found in sorted(glob(pattern)) if Path(found).is_dir()]
        if not folders:
            raise UserError(f"No LeRobot checkpoint is named like {pattern}.{_near(Path(pattern))}")
    elif Path(pattern).is_dir():
        folders = [Path(pattern)]
    else:
        return None
    once: dict[Path, Path] = {}
    for place in (inside for folder in folders for inside in _inside(folder)):
        known = once.get(place.resolve())
        # `last` is a link to one of the others, whose own name says more.
        if known is None or _linked(known) > _linked(place):
            once[place.resolve()] = place
    if not once:
        raise UserError(
            f"{pattern} holds no LeRobot checkpoint (no {CONFIG} and no {MODEL}/ in it)."
        )
    if len(once) == 1 and not has_magic(pattern) and _inside(Path(pattern)) == [Path(pattern)]:
        return None
    places = _told_apart([_place(folder) for folder in once.values()])
    return sorted(places, key=lambda one: (one.lineage, one.step, one.folder))


def training_step(folder: Path) -> int:
    """The step of the training that wrote a checkpoint; that of its folder's name, else 0."""
    try:
        content = json.loads((folder.parent / STATE).read_text())
        if isinstance(content, dict) and type(content.get("step")) is int:
            return content["step"]
    except (OSError, ValueError):
        pass
    name = folder.parent.resolve().name if folder.name == MODEL else folder.resolve().name
    return int(name) if name.isdigit() else 0


def _inside(folder: Path) -> list[Path]:
    """The checkpoint that a folder is or completes to, else those of the run that it is."""
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
        # What `last` points at says more than that it was the last.
        return CheckpointPlace(
            folder=str(folder), name=f"{run}/{own.resolve().name}", lineage=run, step=step
        )
    name = own.resolve().name
    return CheckpointPlace(folder=str(folder), name=name, lineage=name, step=step)


def _told_apart(places: Sequence[CheckpointPlace]) -> list[CheckpointPlace]:
    """The same places; runs of one name in several folders are called by those folders too."""
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
    """A hint from the nearest folder above that exists."""
    wrong, parent = path, path.parent
    while not parent.is_dir():
        wrong, parent = parent, parent.parent
    hint = did_you_mean(wrong.name, [one.name for one in parent.iterdir() if one.is_dir()])
    return f" In {parent}:{hint}" if hint else ""
