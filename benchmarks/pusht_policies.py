"""PushT policies that look for the block in the picture and plan in a copy of the simulator.

    worldeval rank lab --policies 'benchmarks/pusht_policies.py:make?tries=40'

Behaviour cloning of a planner's many-sided pushes succeeds too rarely to compare policies, so most
policies of the comparison plan. They differ in how many pushes they try, and in what is wrong with
them: where they see the block, how it lies, and how steady their hand is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from pusht import Planner, State

from worldeval.policy.protocol import PolicySpec
from worldeval.record import Observation

FIELD = 512.0  # pixels of the simulator's field, both sides
BLOCK = np.array([119.0, 136.0, 153.0])  # its colour
NEAR = 60.0  # distance of a colour from it that is no longer the block's
CHUNK = 10  # actions
STEPS = 5  # of them are carried out before the next call


def make(
    tries: int = 40,
    off: float = 0.0,
    turn: float = 0.0,
    shaky: float = 0.0,
    called: str = "planner",
) -> "Planning":
    """A planning policy.

    Args:
        tries: pushes tried at every decision.
        off: how far right of its place the block is seen, in pixels.
        turn: how much further turned it is seen, in radians.
        shaky: standard deviation of noise on every target, in pixels.
        called: its lineage.
    """
    return Planning(tries, np.array([off, 0.0]), turn, shaky, called)


class Planning:
    """A policy with a plan for every episode, remade when it has been carried out."""

    def __init__(
        self, tries: int, off: np.ndarray, turn: float, shaky: float, lineage: str
    ) -> None:
        self._planner, self._off, self._turn, self._shaky = Planner(tries), off, turn, shaky
        self._shape = Shape.of(self._planner)
        self._minds: list[Mind] = []
        self.spec = PolicySpec(
            name=f"{lineage}/tries-{tries}", lineage=lineage, step=tries, views=("pixels",),
            action_dim=2, chunk=CHUNK,
        )  # fmt: skip

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Begin a batch; every episode's draws come from its own seed."""
        self._minds = [Mind(np.random.default_rng([seed, 17])) for seed in seeds]

    def act(self, observation: Observation) -> np.ndarray:
        """Return the next targets of every episode's plan."""
        frames, poses = observation.frames["pixels"], observation.pose
        rows = zip(frames, poses, self._minds, strict=True)
        return np.stack([self._next(*row) for row in rows]).astype(np.float32)

    def _next(self, frame: np.ndarray, pose: np.ndarray, mind: "Mind") -> np.ndarray:
        mind.seen = self._shape.find(frame) or mind.seen
        agent = (float(pose[0]), float(pose[1]))
        if not mind.waiting and mind.seen is not None:
            (x, y), angle = mind.seen
            place = (x + self._off[0], y + self._off[1])
            state = State(agent, (0.0, 0.0), place, angle + self._turn)
            mind.waiting = [np.asarray(each) for each in self._planner.plan(state, mind.rng)]
        plan = mind.waiting or [np.array(agent)]
        out = np.stack([plan[min(k, len(plan) - 1)] for k in range(CHUNK)])
        mind.waiting = mind.waiting[STEPS:]
        return np.clip(out + mind.rng.normal(0, self._shaky, out.shape), 15, 497)


@dataclass
class Mind:
    """What a policy remembers in one episode."""

    rng: np.random.Generator
    waiting: list[np.ndarray] = field(default_factory=list)
    seen: tuple[tuple[float, float], float] | None = None


@dataclass(frozen=True)
class Shape:
    """Moments of the block in its own axes: those of a picture tell its place and angle.

    About the centroid, with points as complex numbers z, the mean of |z|^2 z turns with the block,
    and the mean of z^2 by twice its angle; the second is steadier, the first has one answer.
    """

    centre: complex
    second: complex
    third: complex

    @classmethod
    def of(cls, planner: Planner) -> "Shape":
        ticks = np.arange(-200.0, 200.0)
        points = ticks[None, :] + 1j * ticks[:, None]
        inside = np.zeros(points.shape, bool)
        for corners in planner._parts:  # rectangles along the axes
            (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
            inside |= (
                (points.real >= x0)
                & (points.real <= x1)
                & (points.imag >= y0)
                & (points.imag <= y1)
            )
        return cls(*_moments(points, inside.astype(float)))

    def find(self, frame: np.ndarray) -> tuple[tuple[float, float], float] | None:
        """Return the block's place in pixels of the field, and its angle; None if unseen."""
        height, width = frame.shape[:2]
        far = np.linalg.norm(frame.astype(float) - BLOCK, axis=2)
        weight = np.clip(1 - far / NEAR, 0, 1)
        if weight.sum() < 0.003 * weight.size:
            return None
        x = (np.arange(width) + 0.5) * FIELD / width
        y = (np.arange(height) + 0.5) * FIELD / height
        centre, second, third = _moments(x[None, :] + 1j * y[:, None], weight)
        rough = np.angle(third / self.third)
        fine = np.angle(second / self.second) / 2
        angle = fine + np.pi * np.round((rough - fine) / np.pi)
        place = centre - self.centre * np.exp(1j * angle)
        return (float(place.real), float(place.imag)), float(angle)


def _moments(points: np.ndarray, weight: np.ndarray) -> tuple[complex, complex, complex]:
    share = weight / weight.sum()
    centre = complex((share * points).sum())
    z = points - centre
    return centre, complex((share * z**2).sum()), complex((share * np.abs(z) ** 2 * z).sum())
