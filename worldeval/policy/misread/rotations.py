"""Misread rotations: the order of angles, of a quaternion's numbers, of a matrix's rows."""

from collections.abc import Callable, Mapping

import numpy as np
from scipy.spatial.transform import Rotation

from worldeval.axes import Array, Float
from worldeval.data.columns import ColumnGroup, Groups, spans
from worldeval.data.rotation import read_rotation, write_rotation
from worldeval.policy.misread.misreading import Misreading, Moved, Untried, of_pose

Read = Callable[[Float[Array, "n r"]], Rotation]
Write = Callable[[Rotation], Float[Array, "n r"]]
STACKED = [0, 2, 4, 1, 3, 5]  # r11 r12 r21 r22 r31 r32 -> both columns, one after the other
INTERLEAVED = [0, 3, 1, 4, 2, 5]  # and back


def _quaternion(values: Float[Array, "n 4"]) -> Rotation:
    return Rotation.from_quat(values)


# Layout -> how its numbers are read and written (angles in radians).
LAYOUTS: Mapping[str, tuple[Read, Write]] = {
    "euler": (
        lambda x: read_rotation(x, "euler"),
        lambda r: write_rotation(r, "euler"),
    ),
    "euler-intrinsic": (
        lambda x: Rotation.from_euler("XYZ", x),
        lambda r: r.as_euler("XYZ"),
    ),
    "yaw-pitch-roll": (
        lambda x: read_rotation(x[:, ::-1], "euler"),
        lambda r: write_rotation(r, "euler")[:, ::-1],
    ),
    "axis-angle": (
        lambda x: read_rotation(x, "axis-angle"),
        lambda r: write_rotation(r, "axis-angle"),
    ),
    "quaternion": (_quaternion, lambda r: write_rotation(r, "quaternion")),
    "quaternion-wxyz": (
        lambda x: _quaternion(x[:, [1, 2, 3, 0]]),
        lambda r: write_rotation(r, "quaternion")[:, [3, 0, 1, 2]],
    ),
    "6d": (lambda x: read_rotation(x, "6d"), lambda r: write_rotation(r, "6d")),
    "6d-rows": (
        lambda x: read_rotation(x, "6d").inv(),
        lambda r: write_rotation(r.inv(), "6d"),
    ),
    "6d-interleaved": (
        lambda x: read_rotation(x[:, STACKED], "6d"),
        lambda r: write_rotation(r, "6d")[:, INTERLEAVED],
    ),
}
SAID = {
    "euler": "roll, pitch, yaw about fixed axes",
    "euler-intrinsic": "roll, pitch, yaw about axes that turn along",
    "yaw-pitch-roll": "yaw, pitch, roll",
    "axis-angle": "an axis times an angle",
    "quaternion": "a quaternion x, y, z, w",
    "quaternion-wxyz": "a quaternion w, x, y, z",
    "6d": "the first two columns of the matrix",
    "6d-rows": "the first two rows of the matrix",
    "6d-interleaved": "the first two columns of the matrix, row by row",
}
WIDTHS = {"euler": 3, "axis-angle": 3, "quaternion": 4, "6d": 6}


def width(layout: str) -> int:
    """Return the number of columns of a layout."""
    plain = next((name for name in WIDTHS if layout.startswith(name)), "euler")
    return WIDTHS[plain]


def rotations_of(values: Float[Array, "n r"], layout: str, factor: float = 1.0) -> Rotation:
    """Read rotations; numbers that are none become no rotation at all.

    Args:
        factor: radians of one unit of an angle.
    """
    values = np.array(values, np.float64)
    broken = ~np.isfinite(values).all(1)
    if width(layout) == 3:
        values = values * factor
    if width(layout) == 4:
        broken |= np.linalg.norm(values, axis=1) < 1e-6
    if width(layout) == 6:
        stacked = values[:, STACKED] if layout == "6d-interleaved" else values
        one, other = stacked[:, :3], stacked[:, 3:]
        sine = np.linalg.norm(np.cross(one, other), axis=1)
        broken |= ~(sine > 1e-6)
    values[broken] = LAYOUTS[layout][1](Rotation.identity(1))
    return LAYOUTS[layout][0](values)


def written(turned: Rotation, layout: str, factor: float = 1.0) -> Float[Array, "n r"]:
    """Write rotations in a layout; `factor` is the radians of one unit of an angle."""
    out = LAYOUTS[layout][1](turned)
    return out / factor if width(layout) == 3 else out


def relaid(
    values: Float[Array, "n r"], *, read: str, write: str, factor: float = 1.0
) -> Float[Array, "n r"]:
    """Rewrite rotations from one layout to another of the same width."""
    return written(rotations_of(values, read, factor), write, factor)


def rotation_misreadings(side: str, groups: Groups) -> tuple[list[Misreading], list[Untried]]:
    """List the misreadings of rotations in an action or a pose (`side`)."""
    turned = [
        (index, group, span)
        for index, (group, span) in enumerate(spans(groups))
        if group.means == "rotation"
    ]
    if not turned:
        return [], [Untried(code=f"{side}-rotation", reason="no column is said to be a rotation")]
    found, forms = [], {str(group.form) for _, group, _ in turned}
    for layout in LAYOUTS:
        chosen = [
            each for each in turned if width(layout) == len(each[1]) and str(each[1].form) != layout
        ]
        if not chosen:
            continue
        change = _relaying(chosen, layout, into=side == "pose")
        touches = tuple(index for index, _, _ in chosen)
        own = " and ".join(SAID[form] for form in sorted(forms))
        code, family = f"{side}-rotation-{layout}", f"{side}-rotation"
        if side == "pose":
            text = f"it is given the rotation of its proprioception as {SAID[layout]}, not {own}"
            found.append(Misreading(code=code, family=family, text=text, see=of_pose(change)))
            continue

        def act(actions: Float[Array, "n s w"], moved: Moved, change=change):
            flat = actions.reshape(-1, actions.shape[-1])
            return change(flat).reshape(actions.shape)

        text = f"the rotation of its actions is read as {SAID[layout]}, not {own}"
        found.append(Misreading(code=code, family=family, text=text, act=act, touches=touches))
    return found, []


def _relaying(
    chosen: list[tuple[int, ColumnGroup, slice]], layout: str, *, into: bool
) -> Callable[[Float[Array, "n w"]], Float[Array, "n w"]]:
    def change(values: Float[Array, "n w"]) -> Float[Array, "n w"]:
        out = np.array(values, np.float64)
        for _, group, span in chosen:
            own, factor = str(group.form), group.factor or 1.0
            read, write = (own, layout) if into else (layout, own)
            out[:, span] = relaid(out[:, span], read=read, write=write, factor=factor)
        return out

    return change
