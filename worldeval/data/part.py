"""One part of a robot's action: an arm, a mobile base, a point in a plane, grippers, or numbers."""

from dataclasses import dataclass, replace
from math import pi
from typing import Literal, get_args

from worldeval.data.names import numbered
from worldeval.data.rotation import NAMES, StoredForm, stored_size

Control = Literal[
    "ee-absolute",
    "ee-delta",
    "ee-velocity",
    "tool-delta",
    "joint-position",
    "joint-delta",
    "joint-velocity",
    "planar-position",
    "planar-delta",
    "planar-velocity",
    "position",
    "delta",
    "velocity",
    "gripper",
    "numbers",
]
Family = Literal["end-effector", "joints", "plane", "base", "gripper", "numbers"]
Moves = Literal["absolute", "delta", "velocity", "unknown"]
PartRotation = StoredForm | Literal["xyz"]  # xyz: a position without a rotation

KINDS: dict[Control, tuple[Family, Moves]] = {
    "ee-absolute": ("end-effector", "absolute"),
    "ee-delta": ("end-effector", "delta"),
    "ee-velocity": ("end-effector", "velocity"),
    "tool-delta": ("end-effector", "delta"),
    "joint-position": ("joints", "absolute"),
    "joint-delta": ("joints", "delta"),
    "joint-velocity": ("joints", "velocity"),
    "planar-position": ("plane", "absolute"),
    "planar-delta": ("plane", "delta"),
    "planar-velocity": ("plane", "velocity"),
    "position": ("base", "absolute"),
    "delta": ("base", "delta"),
    "velocity": ("base", "velocity"),
    "gripper": ("gripper", "absolute"),
    "numbers": ("numbers", "unknown"),
}
MOVED: tuple[Family, ...] = ("end-effector", "joints", "plane")  # have a pose that motions add to
PLANE: tuple[Family, ...] = ("plane", "base")  # x, y and optionally an angle
STILL: dict[Family, Control] = {
    "end-effector": "ee-absolute",
    "joints": "joint-position",
    "plane": "planar-position",
    "base": "position",
}
PLANAR_NAMES, ANGLED = ("x", "y", "angle"), ("euler", "axis-angle")

UNKNOWN = "?"  # a unit that nobody states
SI = {"m": 1.0, "cm": 0.01, "mm": 0.001, "rad": 1.0, "deg": pi / 180}
LENGTHS, ANGLES = ("m", "cm", "mm", "px", "1", UNKNOWN), ("rad", "deg", UNKNOWN)
UNITS = tuple(dict.fromkeys((*LENGTHS, *ANGLES)))


@dataclass(frozen=True, kw_only=True)
class Part:
    """Adjacent columns of an action that are converted together: motion first, then grippers.

    An end effector has a position and a rotation; `ee-delta` is the change from the current pose,
    in the base's frame (the rotation leads from the current orientation to the next, about the
    base's axes), and `tool-delta` the same in the end effector's own frame. A plane has x, y and
    optionally an angle in fixed axes; a base (`position`, `delta`, `velocity`) has the same in axes
    of its own, so that its motions do not add up to positions. Of `numbers` nothing is known.
    """

    control: Control
    name: str = ""  # such as left arm; "" if the robot has one part
    rotation: PartRotation = "euler"  # of an end effector
    columns: int = 0  # before the grippers; an end effector's follow from its rotation
    gripper: int = 0  # columns
    ends: tuple[float, float] | None = None  # values of an open and a closed gripper, if stated
    unit: str = ""  # of positions, and of joints; per second in velocities; "": the default
    angle: str = "rad"  # unit of the rotation's angles, or of the angle in a plane

    def __post_init__(self) -> None:
        def put(**values: object) -> None:
            for name, value in values.items():
                object.__setattr__(self, name, value)  # equal parts compare as equal

        family, default = self.family, "rad" if self.family == "joints" else "m"
        if family == "end-effector":
            width = 3 + (0 if self.rotation == "xyz" else stored_size(self.rotation))
            if self.columns not in (0, width):
                raise ValueError(f"{self.control}({self.rotation}) has {width} columns")
            put(columns=width)
        else:
            put(rotation="xyz")
        if family in PLANE and self.columns not in (2, 3):
            raise ValueError(f"{self.control} has 2 columns (x, y) or 3 (and an angle)")
        if family == "gripper":
            put(gripper=self.gripper + self.columns, columns=0)
        if self.control == "ee-velocity" and self.rotation not in ("xyz", "axis-angle"):
            raise ValueError(
                f"ee-velocity({self.rotation}): a turn per second is an axis-angle; write "
                "ee-velocity(axis-angle) or ee-velocity(xyz)"
            )
        least = 0 if family == "gripper" else 1
        if self.size < 1 or self.columns < least or self.gripper < 0:
            raise ValueError(f"{self.control} has no columns")
        put(unit=(self.unit or default) if family in (*MOVED, "base") else "")
        if not (self.rotation in ANGLED or (family in PLANE and self.columns == 3)):
            put(angle="rad")
        if not self.gripper:
            put(ends=None)
        if self.ends is not None and self.ends[0] == self.ends[1]:
            raise ValueError("the values of an open and a closed gripper must differ")
        known = LENGTHS if family != "joints" else UNITS
        if (self.unit and self.unit not in known) or self.angle not in ANGLES:
            raise ValueError(
                f"its units {self.unit}, {self.angle} are not among {', '.join(UNITS)}"
            )

    @property
    def family(self) -> Family:
        return KINDS[self.control][0]

    @property
    def motion(self) -> Moves:
        """What the motion columns are: a target, a change of it, or a change per second."""
        return KINDS[self.control][1]

    @property
    def size(self) -> int:
        return self.columns + self.gripper

    @property
    def angled(self) -> bool:
        """Whether some columns are in the unit `angle`."""
        return self.rotation in ANGLED or (self.family in PLANE and self.columns == 3)

    @property
    def names(self) -> tuple[str, ...]:
        """A name for every column."""
        if self.family == "end-effector":
            own = ("x", "y", "z", *_rotation_names(self.rotation))
        elif self.family in PLANE:
            own = PLANAR_NAMES[: self.columns]
        else:
            own = numbered("joint" if self.family == "joints" else "number", self.columns)
        if self.gripper == 1:
            return (*own, "gripper")
        return (*own, *numbered("gripper", self.gripper))

    @property
    def moving(self) -> range:
        """Columns that move the part's position: not its rotation, angle, or gripper."""
        count = {"end-effector": 3, "plane": 2, "base": 2, "joints": self.columns}
        return range(count.get(self.family, 0))

    @property
    def targets(self) -> tuple[bool, ...]:
        """Whether each column is a target, and not a motion; a gripper always is one."""
        return (self.motion == "absolute",) * self.columns + (True,) * self.gripper

    def still(self) -> "Part":
        """The part of the same kind whose numbers are positions and not motions."""
        if self.family not in STILL:
            return self
        return replace(self, control=STILL[self.family])

    def unnamed(self) -> "Part":
        """The same part without its name, to compare meanings."""
        return replace(self, name="")


def _rotation_names(rotation: PartRotation) -> tuple[str, ...]:
    if rotation == "xyz":
        return ()
    if rotation == "quaternion-wxyz":
        return ("qw", "qx", "qy", "qz")
    if rotation == "6d-rows":
        return ("r11", "r12", "r13", "r21", "r22", "r23")
    return NAMES[rotation]


CONTROLS: tuple[Control, ...] = get_args(Control)
