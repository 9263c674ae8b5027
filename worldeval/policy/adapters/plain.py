"""Convert actions part by part, without a robot's kinematics.

Rotations, units, relative and absolute motions, velocities and rates. Parts that are equal pass as
they are.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from worldeval.axes import Array, Float32
from worldeval.data.action_space import ActionSpace
from worldeval.data.part import MOVED, Part
from worldeval.data.part_conversion import convert, divided, needs_pose, neutral, refusal
from worldeval.data.space_conversion import matched
from worldeval.data.space_text import part_with_units, with_units
from worldeval.errors import UserError
from worldeval.policy.adapters.motion import refuse_degrees, refuse_narrow


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """A part of the world, the policy's part that commands it, and the columns of both."""

    own: Part
    target: Part
    mine: slice  # columns of the policy's actions
    seen: Part | None  # how the world's pose gives where the part is; None: it does not
    where: slice  # columns of the pose

    @property
    def shown(self) -> Part | None:
        """The form in which the policy reads the part's pose; None: as the world gives it."""
        if self.seen is None or self.own.unnamed() == self.target.unnamed():
            return None
        own, seen = self.own, self.seen
        stated = own.ends and seen.ends and own.gripper == seen.gripper
        ends = own.ends if stated else seen.ends
        form = replace(own.still(), name=seen.name, gripper=seen.gripper, ends=ends)
        return None if form == seen or refusal(seen, form) else form

    def here(self, pose: Float32[Array, "b p"]) -> Array:
        """Where the part is, as `own.still()` without its grippers has it."""
        still = replace(self.own.still(), gripper=0)
        if self.seen is None or not needs_pose(self.own, self.target):
            return neutral(still, len(pose))
        return convert(replace(self.seen, gripper=0), still, pose[:, self.where])


class PlainAdapter:
    """Convert between spaces whose parts are of the same kinds, and between rates.

    A controller step of the world takes what the last of `steps` policy steps reaches, the sum of
    their changes, the mean of their velocities. If a policy step lasts `held` controller steps
    instead, targets and velocities are held and changes are divided. `stacked` controller steps
    make the action of one world frame.
    """

    def __init__(
        self,
        policy: ActionSpace,
        world: ActionSpace,
        *,
        fps: float,
        steps: int = 1,
        held: int = 1,
        stacked: int = 1,
        pose: ActionSpace | None = None,
    ) -> None:
        """Check that every part can be converted.

        Args:
            fps: policy steps per second.
            steps, held, stacked: see the class.
            pose: what the world's proprioception means; None: it begins with the world's parts, in
                the order and the form of its actions, as positions.

        Raises:
            UserError: a part has no counterpart or cannot be converted; the message names it.
        """
        self.policy, self.world = policy, world
        self._each, self._held, self._stacked = steps, held, stacked
        self._fps, self._pose_space = fps * held, pose
        mine = {part.name: span for part, span in policy.spans()}
        self._pairs = [
            self._pair(own, target, mine[own.name]) for own, target in matched(policy, world)
        ]
        for pair in self._pairs:
            if (steps, held) != (1, 1) and pair.own.control == "numbers":
                raise UserError(
                    f"{_named(pair.target)}{part_with_units(pair.own.unnamed())} cannot be "
                    f"converted to another rate, because nothing is known of these numbers. State "
                    "what they are in the map of the data (means:, motion:)."
                )
        self._pose = np.zeros((0, 0), np.float32)

    @property
    def steps(self) -> Fraction:
        """Policy steps of a world frame."""
        return Fraction(self._each * self._stacked, self._held)

    @property
    def width(self) -> int:
        """Numbers in the action of a world frame."""
        return self.world.size * self._stacked

    def begin(self, episodes: int) -> None:
        """Do nothing: no state is kept."""

    def sense(self, pose: Float32[Array, "b p"]) -> Float32[Array, "b s"]:
        """Return the pose with every part of it in the policy's form; other columns as they are."""
        read = [pair for pair in self._pairs if pair.shown or needs_pose(pair.own, pair.target)]
        if self._pose_space is None and read:
            refuse_narrow(self.world, pose)
            pose = pose[:, : self.world.size]
        self._pose = pose
        out, place = [], 0
        for pair in sorted(read, key=lambda pair: pair.where.start):
            if pair.seen is None or pair.shown is None:
                continue
            out += [pose[:, place : pair.where.start]]
            out += [convert(pair.seen, pair.shown, pose[:, pair.where])]
            place = pair.where.stop
        return np.concatenate([*out, pose[:, place:]], axis=1).astype(np.float32)

    def turn(self, chunk: Float32[Array, "b k a"]) -> Float32[Array, "b f w"]:
        """Execute each step from the result of the previous one."""
        parts = [self._turned(pair, chunk[..., pair.mine]) for pair in self._pairs]
        every = np.concatenate(parts, axis=2).astype(np.float32)
        frames = every.shape[1] // self._stacked
        return every[:, : frames * self._stacked].reshape(len(every), frames, -1)

    def _turned(self, pair: _Pair, chunk: Float32[Array, "b k _"]) -> Float32[Array, "b f _"]:
        own, target, steps = pair.own, pair.target, self._each
        refuse_degrees(own, chunk)
        chunk = held_for(own, chunk, self._held)
        count = chunk.shape[1] // steps * steps
        if own.unnamed() == target.unnamed() and steps == 1:
            return chunk[:, :count]
        if own.family not in MOVED:
            each = [convert(own, target, chunk[:, k], fps=self._fps) for k in range(count)]
            return _gathered(target, np.stack(each, axis=1), steps).astype(np.float32)
        still = own.still()
        bare = replace(still, gripper=0)
        here = pair.here(self._pose)
        pose, out = here, []
        for step in range(count):
            now = convert(own, still, chunk[:, step], pose=pose, fps=self._fps)
            pose = now[:, : bare.columns]
            if (step + 1) % steps == 0:
                out.append(convert(still, target, now, pose=here, fps=self._fps / steps))
                here = pose
        return np.stack(out, axis=1).astype(np.float32)

    def _pair(self, own: Part, target: Part, mine: slice) -> _Pair:
        space = self._pose_space or self.world.still()
        alike = [(part, span) for part, span in space.spans() if part.family == own.family]
        only = sum(part.family == own.family for part in self.world.parts) == 1 == len(alike)
        found = next(((p, s) for p, s in alike if p.name == target.name), None)
        if found is None and only:
            found = alike[0]
        # Grippers come last, and where a part is does not depend on them.
        seen, where = found or (None, slice(0, 0))
        if needs_pose(own, target):
            if seen is None:
                raise UserError(
                    f"{_named(target)}{part_with_units(own.unnamed())} can only be converted to "
                    f"{part_with_units(target.unnamed())} where the pose says where the part is, "
                    f"but the world's pose is {with_units(space)}. State what its columns mean "
                    "in the map of the data, and train on it."
                )
            why = refusal(replace(seen, gripper=0), replace(own.still(), gripper=0))
            if why:
                raise UserError(
                    f"{_named(target)}the world's pose {part_with_units(seen)} cannot be "
                    f"converted to {part_with_units(own.still())}: {why}."
                )
        return _Pair(own=own, target=target, mine=mine, seen=seen, where=where)


def held_for(part: Part, chunk: Float32[Array, "b k w"], steps: int) -> Float32[Array, "b s w"]:
    """Let every action last `steps` steps: targets and velocities are held, changes divided."""
    if steps == 1:
        return chunk
    if part.motion == "delta":
        rows = divided(part, chunk.reshape(-1, chunk.shape[2]), steps)
        chunk = rows.reshape(chunk.shape).astype(np.float32)
    return np.repeat(chunk, steps, axis=1)


def _gathered(part: Part, values: Float32[Array, "b k w"], steps: int) -> Float32[Array, "b f w"]:
    """One frame of every `steps` steps: the last target, the sum of changes, the mean velocity."""
    frames = values.reshape(len(values), -1, steps, values.shape[2])
    out = np.array(frames[:, :, -1])
    own = slice(0, part.columns)
    if part.motion == "delta":
        out[..., own] = frames[..., own].sum(2)
    if part.motion == "velocity":
        out[..., own] = frames[..., own].mean(2)
    return out


def _named(part: Part) -> str:
    return f"Part '{part.name}': " if part.name else ""
