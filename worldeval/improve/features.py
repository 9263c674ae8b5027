"""The features of every state that a world model passes through: what critics read."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from worldeval.axes import Array, Float32, UInt8
from worldeval.record import Observation, Rollout
from worldeval.world.protocol import WorldModel, WorldSpec
from worldeval.world.walk import Walk, stepped, walk


class Tapped:
    """Wrap a world model and record the features of every state that it passes through.

    They are the world's own if it has a method `features` (a recurrent state-space model's
    deterministic and stochastic state), else its latents and proprioception.
    """

    def __init__(self, world: WorldModel) -> None:
        self._world = world
        self._features = getattr(world, "features", None)
        self.noted: list[Float[Tensor, "b f"]] = []

    @property
    def spec(self) -> WorldSpec:
        return self._world.spec

    def begin(
        self,
        frames: Mapping[str, UInt8[Array, "b h w 3"]],
        pose: Float32[Array, "b p"],
        tasks: Sequence[str],
        seeds: Sequence[int],
    ) -> Any:
        """Begin a state at observed frames; forgets the recorded features."""
        self.noted.clear()
        return self._note(self._world.begin(frames, pose, tasks, seeds))

    def step(self, state: Any, actions: Float32[Array, "b a"]) -> Any:
        return self._note(self._world.step(state, actions))

    def walk(self, state: Any, actions: Float32[Array, "b t a"]) -> Walk:
        """Advance several frames; a world with its own features is stepped one by one."""
        if self._features is not None:
            return stepped(self, state, actions)
        walked = walk(self._world, state, actions)
        for step in range(actions.shape[1]):
            self._keep(walked.latents[:, step], walked.pose[:, step])
        return walked

    def latents(self, state: Any) -> Float32[Array, "b v d h w"]:
        return self._world.latents(state)

    def pose(self, state: Any) -> Float32[Array, "b p"]:
        return self._world.pose(state)

    def render(
        self, latents: Float32[Array, "n v d y x"], tasks: Sequence[str]
    ) -> dict[str, UInt8[Array, "n h w 3"]]:
        return self._world.render(latents, tasks)

    def _note(self, state: Any) -> Any:
        self.noted.append(state_features(self._world, state))
        return state

    def _keep(self, latents: Float32[Array, "b v d h w"], pose: Float32[Array, "b p"]) -> None:
        self.noted.append(_flat(latents, pose))


def state_features(world: WorldModel, state: Any) -> Float[Tensor, "b f"]:
    """A state's features: the world's own where it has some, else its latents and pose."""
    own = getattr(world, "features", None)
    if own is not None:
        return own(state).detach().cpu().float()
    return _flat(world.latents(state), world.pose(state))


def _flat(latents: Float32[Array, "b v d h w"], pose: Float32[Array, "b p"]) -> Tensor:
    flat = np.concatenate([latents.reshape(len(pose), -1), pose], 1)
    return torch.from_numpy(flat.astype(np.float32))


def features_of(
    noted: Sequence[Float[Tensor, "b f"]],
    rollouts: Sequence[Rollout],
    tasks: tuple[str, ...],
    *,
    every: int,
) -> Float[Tensor, "t b all"]:
    """Stack the critic's inputs at each call of the policy, `every` frames apart.

    These are the world's features, the task and the elapsed share of the episode, because little
    reward is left near its end. The last of `noted` is the final state, without a policy call.
    """
    frames = torch.arange(0, len(noted) - 1, every)
    which = torch.eye(len(tasks))[[tasks.index(rollout.task) for rollout in rollouts]]
    time = (frames / (len(noted) - 1))[:, None, None].expand(-1, len(rollouts), 1)
    seen = torch.stack([noted[int(frame)] for frame in frames])
    return torch.cat([seen, which.expand(len(frames), -1, -1), time], -1)


class Standing:
    """What a critic reads of an observation: at every call of a policy, in any world.

    The world model encodes the observation anew each time, so that this also works on a robot or in
    a simulator. A recurrent world's state then begins at that frame.
    """

    def __init__(self, world: WorldModel, *, horizon: int, executed: int) -> None:
        """`executed` world frames pass between two calls of an episode of `horizon` frames."""
        self._world, self._horizon, self._executed = world, horizon, executed
        self._tasks: tuple[str, ...] = ()
        self._seeds: tuple[int, ...] = ()
        self._calls = 0

    def begin(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Begin a batch of episodes."""
        self._tasks, self._seeds = tuple(tasks), tuple(int(seed) for seed in seeds)
        self._calls = 0

    def __call__(self, observation: Observation) -> Float[Tensor, "b all"]:
        """Return the critic's input, as `features_of` makes it in training."""
        world, pose = self._world, observation.pose.astype(np.float32)
        state = world.begin(observation.frames, pose, self._tasks, self._seeds)
        which = torch.eye(len(world.spec.tasks))[
            [world.spec.tasks.index(task) for task in self._tasks]
        ]
        elapsed = min(self._calls * self._executed / self._horizon, 1.0)
        self._calls += 1
        seen = state_features(world, state)
        return torch.cat([seen, which, torch.full((len(pose), 1), elapsed)], -1)
