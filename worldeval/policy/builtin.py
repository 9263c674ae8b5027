"""Policies that learn nothing: zero, random and replay. They anchor a ranking and its checks."""

from collections.abc import Sequence

import numpy as np

from worldeval.axes import Array, Float32
from worldeval.policy.protocol import PolicySpec
from worldeval.record import Observation

VIEWS = ("side", "top")
ACTION_DIM = 20  # five simulator steps of four numbers
STEP_DIM = 4  # dx, dy, dz, gripper


class Zero:
    """Command nothing."""

    def __init__(
        self, *, action_dim: int = ACTION_DIM, chunk: int = 1, views: Sequence[str] = VIEWS
    ) -> None:
        self._spec = _spec("zero", action_dim, chunk, tuple(views))

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Do nothing: no state is kept between steps."""

    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        shape = (len(observation), self._spec.chunk, self._spec.action_dim)
        return np.zeros(shape, np.float32)


class Random:
    """Wander: every dimension of a step's action follows its own slowly varying noise."""

    def __init__(
        self,
        *,
        action_dim: int = ACTION_DIM,
        chunk: int = 1,
        views: Sequence[str] = VIEWS,
        step_dim: int = STEP_DIM,
        size: float = 0.7,  # standard deviation of the noise
        memory: float = 0.95,  # autocorrelation of the noise between simulator steps
    ) -> None:
        self._spec = _spec("random", action_dim, chunk, tuple(views))
        self._noise = ColouredNoise(step_dim, size=size, memory=memory)

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Seed every episode's noise with its own seed."""
        self._noise.reset([np.random.default_rng([seed, 1]) for seed in seeds])

    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        return np.clip(self._noise.chunk(self._spec.chunk, self._spec.action_dim), -1, 1)


class Replay:
    """Play back recorded actions: episode i of a batch is recording i, one frame per call.

    It commands nothing after a recording's end.
    """

    def __init__(
        self,
        actions: Sequence[Float32[Array, "_ a"]],  # lengths may differ
        *,
        name: str = "replay",
        views: Sequence[str] = VIEWS,
    ) -> None:
        self._actions = list(actions)
        # A chunk of one, so that a call is always one world frame, however often it is queried.
        self._spec = _spec(name, self._actions[0].shape[1], 1, tuple(views))
        self._frame = 0

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Restart every recording; the batch must have one episode per recording."""
        if len(tasks) != len(self._actions):
            raise ValueError(
                f"reset has {len(tasks)} episodes, but there are {len(self._actions)} recordings"
            )
        self._frame = 0

    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        out = np.zeros((len(self._actions), 1, self._spec.action_dim), np.float32)
        for row, recorded in enumerate(self._actions):
            if self._frame < len(recorded):
                out[row, 0] = recorded[self._frame]
        self._frame += 1
        return out


class ColouredNoise:
    """First-order autoregressive noise over simulator steps, one stream per episode."""

    def __init__(self, step_dim: int, *, size: float, memory: float) -> None:
        self._step_dim, self._size, self._memory = step_dim, size, memory
        self._rngs: list[np.random.Generator] = []
        self._last = np.zeros((0, step_dim))

    def reset(self, rngs: Sequence[np.random.Generator]) -> None:
        """Begin one stream for every generator."""
        self._rngs = list(rngs)
        self._last = np.stack([self._draw(rng, 1)[0] for rng in self._rngs])

    def chunk(self, frames: int, action_dim: int) -> Float32[Array, "b k a"]:
        """Return the next `frames` world frames of every stream."""
        if action_dim % self._step_dim:
            raise ValueError(f"step_dim {self._step_dim} does not divide the action's {action_dim}")
        steps = frames * action_dim // self._step_dim
        fresh = np.stack([self._draw(rng, steps) for rng in self._rngs])
        out = np.empty_like(fresh)
        keep = np.sqrt(1 - self._memory**2)  # keeps the standard deviation at `size`
        for step in range(steps):
            self._last = self._memory * self._last + keep * fresh[:, step]
            out[:, step] = self._last
        return out.reshape(len(out), frames, action_dim).astype(np.float32)

    def _draw(self, rng: np.random.Generator, steps: int) -> Array:
        return self._size * rng.standard_normal((steps, self._step_dim))


def _spec(name: str, action_dim: int, chunk: int, views: tuple[str, ...]) -> PolicySpec:
    return PolicySpec(
        name=name, lineage=name, step=0, views=tuple(views), action_dim=action_dim, chunk=chunk
    )
