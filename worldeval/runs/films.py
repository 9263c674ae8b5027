"""Film strips: the frames of a few roll-outs, imagined and real, kept for people to look at.

`filmstrips/index.json` lists them; beside it lies one npz file per roll-out, holding an array of
frames for each view. A world model is needed to write the imagined ones and none to read them.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from worldeval.axes import Array, Float, UInt8
from worldeval.errors import UserError
from worldeval.run import whole_file, write_json
from worldeval.runs.files import read_record
from worldeval.runs.paths import FILM_INDEX, inside
from worldeval.runs.store import UNREADABLE

# View -> RGB, 0-255. Sides and views may differ in length and size: `_` is not compared.
Frames = Mapping[str, UInt8[Array, "_t _h _w 3"]]

REMEDY = "Remove the file and film the episodes again: worldeval film."


@dataclass(frozen=True, kw_only=True)
class Moves:
    """What the robot really did: the numbers of the real side of a film strip."""

    actions: Float[Array, "t a"]  # as the imagined roll-out's
    pose: Float[Array, "t+1 p"]


@dataclass(frozen=True, kw_only=True)
class Filmstrip:
    """An imagined roll-out and, where it was run, the real one from the same start."""

    policy: str
    task: str
    start: str
    seed: int = 0
    probability: float | None = None  # of success, by the judge
    success: bool | None = None  # what really happened; None: nobody knows
    evidence: tuple[float, ...] = ()  # the judge's probability after each frame, where kept
    imagined: str = ""  # file names inside the folder; `write_filmstrip` gives them
    truth: str | None = None
    moves: str | None = None  # the real side's actions and poses
    drawn: bool = False  # at random from the whole run: what people say of it stands for the rest

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What makes it this roll-out and no other."""
        return self.policy, self.task, self.start, self.seed

    @property
    def agrees(self) -> bool | None:
        """Whether the likelier imagined outcome is the real one; None where one is unknown."""
        if self.probability is None or self.success is None:
            return None
        return (self.probability >= 0.5) == self.success


def write_filmstrip(
    folder: Path,
    entry: Filmstrip,
    imagined_frames: Frames,
    truth_frames: Frames | None = None,
    moves: Moves | None = None,
) -> Filmstrip:
    """Add a film strip to `folder`, or replace it there; the entry returned names its files."""
    stem = _stem(entry)
    entry = replace(entry, imagined=f"{stem}-imagined.npz", truth=None, moves=None)
    _save(folder / entry.imagined, imagined_frames)
    if truth_frames is not None:
        entry = replace(entry, truth=f"{stem}-truth.npz")
        _save(folder / f"{stem}-truth.npz", truth_frames)
    if moves is not None:
        entry = replace(entry, moves=f"{stem}-moves.npz")
        _save(folder / f"{stem}-moves.npz", {"actions": moves.actions, "pose": moves.pose})
    others = [other for other in read_filmstrips(folder) if other.key != entry.key]
    write_json(folder / FILM_INDEX, [asdict(each) for each in (*others, entry)])
    return entry


def read_filmstrips(folder: Path) -> list[Filmstrip]:
    """The film strips of a folder, in the order in which they were written; none without index.

    Raises:
        UserError: the index is damaged.
    """
    index = folder / FILM_INDEX
    if not index.is_file():
        return []
    strips = read_record(index, list[Filmstrip], remedy=REMEDY)
    for place, strip in enumerate(strips):
        if not strip.imagined:
            raise UserError(f"{index}, entry {place}: it names no file of frames. {REMEDY}")
    return strips


def read_frames(folder: Path, name: str) -> dict[str, UInt8[Array, "_t _h _w 3"]]:
    """The frames of one roll-out by view. `name` comes from the index.

    Raises:
        UserError: the file is missing, damaged, or lies outside of the folder.
    """
    path = inside(folder, name)
    try:
        # Opened here because np.load leaves a damaged file open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            frames = {view: file[view] for view in file.files}
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing, though {folder / FILM_INDEX} names it.") from error
    except (*UNREADABLE, AttributeError) as error:
        raise UserError(f"{path} is no readable npz file of frames: {error}") from error
    for view, array in frames.items():
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[-1] != 3 or not len(array):
            raise UserError(
                f"{path}: view '{view}' is {array.dtype} {array.shape}; frames are uint8 "
                "(time, height, width, 3)."
            )
    if not frames:
        raise UserError(f"{path} holds no view.")
    return frames


def read_moves(folder: Path, name: str) -> Moves:
    """The numbers of a real side. `name` comes from the index.

    Raises:
        UserError: the file is missing, damaged, or lies outside of the folder.
    """
    path = inside(folder, name)
    try:
        # Opened here because np.load leaves a damaged file open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            actions, pose = (np.asarray(file[part], np.float32) for part in ("actions", "pose"))
    except UNREADABLE as error:
        raise UserError(f"{path} holds no actions and poses: {error}") from error
    if actions.ndim != 2 or pose.ndim != 2 or len(pose) != len(actions) + 1:
        raise UserError(
            f"{path}: actions are {actions.shape} and poses {pose.shape}; both are (time, numbers) "
            "and there is one pose more."
        )
    return Moves(actions=actions, pose=pose)


def _save(path: Path, content: Mapping[str, Array]) -> None:
    arrays: dict[str, Any] = {name: np.asarray(each) for name, each in content.items()}
    with whole_file(path) as draft:
        np.savez_compressed(draft, **arrays)


def _stem(entry: Filmstrip) -> str:
    """A readable file name; the digest keeps names apart that differ in odd characters only."""
    words = "-".join(map(str, entry.key))
    digest = hashlib.sha256(repr(entry.key).encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9._]+', '-', words).strip('-.')[:80]}-{digest}"
