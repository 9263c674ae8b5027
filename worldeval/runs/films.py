"""Film strips: frames of a few imagined and measured roll-outs, kept for visual inspection.

`filmstrips/index.json` lists them. Beside it is one npz file per roll-out with an array of frames
for each view. Writing imagined film strips needs a world model; reading them does not.
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
from worldeval.files import whole_file, write_json
from worldeval.runs.files import read_record
from worldeval.runs.paths import FILM_INDEX, inside
from worldeval.runs.store import UNREADABLE

# View -> RGB, 0-255. Sides and views may differ in length and size, so `_` is not checked.
Frames = Mapping[str, UInt8[Array, "_t _h _w 3"]]

REMEDY = "Remove the file and run `worldeval film` again."


@dataclass(frozen=True, kw_only=True)
class Moves:
    """Actions and poses of the measured roll-out of a film strip."""

    actions: Float[Array, "t a"]  # as the imagined roll-out's
    pose: Float[Array, "t+1 p"]


@dataclass(frozen=True, kw_only=True)
class Filmstrip:
    """An imagined roll-out and, if it was run, the measured one from the same start."""

    policy: str
    task: str
    start: str
    seed: int = 0
    probability: float | None = None  # of success, by the judge
    success: bool | None = None  # measured outcome; None if unknown
    progress: float | None = None  # how far it came at best, 0 to 1, if the judge measures it
    evidence: tuple[float, ...] = ()  # the judge's probability after each frame, if stored
    imagined: str = ""  # file names inside the folder, set by `write_filmstrip`
    truth: str | None = None
    moves: str | None = None  # file of the measured actions and poses
    drawn: bool = False  # chosen at random from the whole run, so its labels represent the rest

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Key that identifies the roll-out."""
        return self.policy, self.task, self.start, self.seed

    @property
    def agrees(self) -> bool | None:
        """Whether the likelier imagined outcome equals the measured one; None if unknown."""
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
    """Add a film strip to `folder`, or replace it; the returned entry names its files."""
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
    """Read the film strips of a folder in the order of writing; none if there is no index.

    Raises:
        UserError: the index is damaged.
    """
    index = folder / FILM_INDEX
    if not index.is_file():
        return []
    strips = read_record(index, list[Filmstrip], remedy=REMEDY)
    for place, strip in enumerate(strips):
        if not strip.imagined:
            raise UserError(f"{index}, entry {place}: the entry names no file of frames. {REMEDY}")
    return strips


def read_frames(folder: Path, name: str) -> dict[str, UInt8[Array, "_t _h _w 3"]]:
    """Read the frames of one roll-out by view. `name` comes from the index.

    Raises:
        UserError: the file is missing, damaged, or outside the folder.
    """
    path = inside(folder, name)
    try:
        # Opened here because np.load leaves a damaged file open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            frames = {view: file[view] for view in file.files}
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing, but {folder / FILM_INDEX} lists it.") from error
    except (*UNREADABLE, AttributeError) as error:
        raise UserError(f"{path} is not a readable npz file of frames: {error}") from error
    for view, array in frames.items():
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[-1] != 3 or not len(array):
            raise UserError(
                f"{path}: view '{view}' is {array.dtype} {array.shape}; frames must be uint8 "
                "(time, height, width, 3)."
            )
    if not frames:
        raise UserError(f"{path} contains no views.")
    return frames


def read_moves(folder: Path, name: str) -> Moves:
    """Read the actions and poses of a measured roll-out. `name` comes from the index.

    Raises:
        UserError: the file is missing, damaged, or outside the folder.
    """
    path = inside(folder, name)
    try:
        # Opened here because np.load leaves a damaged file open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            actions, pose = (np.asarray(file[part], np.float32) for part in ("actions", "pose"))
    except UNREADABLE as error:
        raise UserError(f"{path} contains no actions and poses: {error}") from error
    if actions.ndim != 2 or pose.ndim != 2 or len(pose) != len(actions) + 1:
        raise UserError(
            f"{path}: actions are {actions.shape} and poses {pose.shape}; both must be (time, "
            "dimensions), with one more pose than actions."
        )
    return Moves(actions=actions, pose=pose)


def _save(path: Path, content: Mapping[str, Array]) -> None:
    arrays: dict[str, Any] = {name: np.asarray(each) for name, each in content.items()}
    with whole_file(path) as draft:
        np.savez_compressed(draft, **arrays)


def _stem(entry: Filmstrip) -> str:
    """Build a readable file name; the digest separates names that differ in special characters."""
    words = "-".join(map(str, entry.key))
    digest = hashlib.sha256(repr(entry.key).encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9._]+', '-', words).strip('-.')[:80]}-{digest}"
