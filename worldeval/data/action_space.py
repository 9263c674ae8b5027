"""Action spaces: the parts of a robot that an action moves."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from worldeval.axes import Array, Float, Float32
from worldeval.data.part import Part, PartRotation
from worldeval.data.rotation import unwrapped


@dataclass(frozen=True, kw_only=True)
class ActionSpace:
    """The parts of an action, in the order of its columns. The same describes a pose, whose
    parts are absolute.
    """

    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("an action space has at least one part")
        names = [part.name for part in self.parts]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"several parts are called '{twice[0]}'; give each its own name")

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    @property
    def names(self) -> tuple[str, ...]:
        """A name for every column; of several parts, after the part's own name."""
        return tuple(
            f"{part.name} {name}" if len(self.parts) > 1 and part.name else name
            for part in self.parts
            for name in part.names
        )

    @property
    def alone(self) -> Part | None:
        """The part of a robot that has one part."""
        return self.parts[0] if len(self.parts) == 1 else None

    @property
    def targets(self) -> tuple[bool, ...]:
        """Whether each column is a target, and not a motion."""
        return tuple(each for part in self.parts for each in part.targets)

    @property
    def absolute(self) -> bool:
        """Whether all motion columns are targets."""
        return all(part.motion == "absolute" for part in self.parts)

    @property
    def known(self) -> bool:
        """Whether the meaning of every column is known."""
        return all(part.control != "numbers" for part in self.parts)

    @property
    def moving(self) -> tuple[int, ...]:
        """Columns that move the robot's position."""
        return tuple(span.start + each for part, span in self.spans() for each in part.moving)

    def spans(self) -> Iterator[tuple[Part, slice]]:
        """Iterate over the parts with the columns of each."""
        begin = 0
        for part in self.parts:
            yield part, slice(begin, begin + part.size)
            begin += part.size

    def still(self) -> "ActionSpace":
        """Return the space of the same parts whose numbers are positions and not motions."""
        return ActionSpace(parts=tuple(part.still() for part in self.parts))

    def trainable(self) -> "ActionSpace":
        """Return the space to train in: continuous, with rotations as 6-D numbers."""
        return ActionSpace(
            parts=tuple(
                replace(part, rotation="6d", columns=0)
                if part.control == "ee-absolute" and part.rotation != "xyz"
                else part
                for part in self.parts
            )
        )

    def turned(self, form: PartRotation, other: PartRotation) -> "ActionSpace":
        """Return the space with rotations of one form in another."""
        return ActionSpace(
            parts=tuple(
                replace(part, rotation=other, columns=0, angle="rad")
                if part.rotation == form and part.family == "end-effector"
                else part
                for part in self.parts
            )
        )

    def unwrapped(self, actions: Float[Array, "t a"]) -> Float32[Array, "t a"]:
        """Unwrap the Euler angles of one episode, so that they continue past half a turn."""
        out = np.array(actions, np.float32)
        for part, span in self.spans():
            if part.control == "ee-absolute" and part.rotation == "euler" and part.angle == "rad":
                turn = slice(span.start + 3, span.start + 6)
                out[:, turn] = unwrapped(actions[:, turn])
        return out
