"""Misread motion: actions that say where to be, read as how far to move, and the other way."""

import numpy as np
from scipy.spatial.transform import Rotation

from worldeval.axes import Array, Float
from worldeval.data.columns import ColumnGroup, ColumnMeanings, spans
from worldeval.policy.misread.misreading import Act, Misreading, Moved, Untried
from worldeval.policy.misread.rotations import rotations_of, written

MOVED = ("position", "planar", "joint", "rotation")
Paired = list[tuple[int, ColumnGroup, slice, ColumnGroup, slice]]


def motion_misreadings(
    meaning: ColumnMeanings, *, fps: float, chunk: int
) -> tuple[list[Misreading], list[Untried]]:
    """List the misreadings of absolute and relative actions.

    Args:
        fps: world frames a second.
        chunk: world frames of a chunk that are compared.
    """
    pairs = paired_columns(meaning)
    if not pairs:
        return [], [
            Untried(
                code="absolute-delta",
                reason="no column of the action is said to move a column of the pose with known "
                "units",
            )
        ]
    found = []
    for motion, others in (("absolute", ("delta",)), ("delta", ("absolute",)),
                           ("velocity", ("delta", "absolute"))):  # fmt: skip
        chosen = [each for each in pairs if each[1].motion == motion]
        if motion == "velocity":
            chosen = [each for each in chosen if each[1].means != "rotation"]
        kinds = {each[1].means for each in chosen}
        # All that moves may be misread, or the position alone, or the rotation alone.
        parts = [("", chosen)] if chosen else []
        parts += [
            (f"-{means}", [each for each in chosen if each[1].means == means])
            for means in (sorted(kinds) if len(kinds) > 1 else ())
        ]
        for part, some in parts:
            touches = tuple(each[0] for each in some)
            what = f"the {part[1:]} of its actions is" if part else "its actions are"
            for other in others:
                text = f"{what} read as {SAID[other]}, not as {SAID[motion]}"
                act = _reading(some, other, motion, fps, chunk=False)
                found.append(_one(f"actions-{other}{part}", text, act, touches))
            if motion == "absolute" and chunk > 1:
                text = f"{what} read as changes from the pose at which the chunk was predicted"
                act = _reading(some, "delta", motion, fps, chunk=True)
                found.append(_one(f"actions-relative{part}", text, act, touches))
    return found, []


def _one(code: str, text: str, act: Act, touches: tuple[int, ...]) -> Misreading:
    return Misreading(code=code, family="motion", text=text, act=act, touches=touches)


SAID = {"absolute": "targets", "delta": "changes of the pose", "velocity": "velocities"}


def paired_columns(meaning: ColumnMeanings) -> Paired:
    """Every group of the action with the pose columns that it moves."""
    out: Paired = []
    for index, (group, span) in enumerate(spans(meaning.action)):
        if group.means not in MOVED or group.guessed:
            continue
        for own, where in spans(meaning.pose):
            if (own.means, own.arm) != (group.means, group.arm):
                continue
            turned = group.means == "rotation"
            if turned or (len(own) == len(group) and unit_factor(own, group)):
                out.append((index, group, span, own, where))
                break
    return out


def unit_factor(pose: ColumnGroup, action: ColumnGroup) -> float | None:
    """Pose units of one unit of the action; None if unknown."""
    if pose.factor is not None and action.factor is not None:
        return action.factor / pose.factor
    same = pose.unit == action.unit.removesuffix("/s")
    return 1.0 if same and pose.unit else None


def _reading(pairs: Paired, read: str, write: str, fps: float, *, chunk: bool) -> Act:
    """Read actions as one kind of motion and write them as another."""

    def act(actions: Float[Array, "n s w"], moved: Moved) -> Float[Array, "n s w"]:
        out = np.array(actions, np.float64)
        pose = moved.asked if chunk else moved.now
        for _, group, span, own, where in pairs:
            if group.means == "rotation":
                changed = _turned(out[:, :, span], pose[:, where], group, own, read, alone=chunk)
            else:
                factor = unit_factor(own, group) or 1.0
                here = pose[:, where].astype(np.float64) / factor
                steps = out.shape[1] * fps if write == "velocity" else 1.0
                changed = _moved(out[:, :, span], here, read, write, steps, alone=chunk)
            out[:, :, span] = changed
        return out

    return act


def _moved(
    actions: Float[Array, "n s c"],
    here: Float[Array, "n c"],
    read: str,
    write: str,
    per_second: float,
    *,
    alone: bool,
) -> Float[Array, "n s c"]:
    if write == "velocity":
        if read == "delta":
            return actions * per_second
        return np.diff(np.concatenate([here[:, None], actions], 1), axis=1) * per_second
    if read == "delta":
        return here[:, None] + (actions if alone else np.cumsum(actions, 1))
    return np.diff(np.concatenate([here[:, None], actions], 1), axis=1)


def _turned(
    actions: Float[Array, "n s r"],
    pose: Float[Array, "n q"],
    group: ColumnGroup,
    own: ColumnGroup,
    read: str,
    *,
    alone: bool,
) -> Float[Array, "n s r"]:
    form, factor = str(group.form), group.factor or 1.0
    first = rotations_of(pose, str(own.form), own.factor or 1.0)
    before, out = first, np.empty_like(actions)
    for step in range(actions.shape[1]):
        given = rotations_of(actions[:, step], form, factor)
        if read == "delta":
            turned = _after(first if alone else before, given, group)
            before = turned
        else:
            turned, before = _between(before, given, group), given
        out[:, step] = written(turned, form, factor)
    return out


def _after(before: Rotation, change: Rotation, group: ColumnGroup) -> Rotation:
    return before * change if group.frame == "tool" else change * before


def _between(before: Rotation, after: Rotation, group: ColumnGroup) -> Rotation:
    return before.inv() * after if group.frame == "tool" else after * before.inv()
