# pandas types a column as anything that a table may hold.
# pyright: reportAttributeAccessIssue=false
"""Goal-conditioned policies that are given subgoals, imagined by a `uwm` world model's video mode.

    worldeval rank PROTOCOL --policies 'worldeval.rollout.goal_planner:load?policy=runs/beso/\\
        step-2400&world=runs/world/uwm-tiny&goals=recordings'

Far goals are hard for a policy that learned from short stretches; a subgoal on the way is near.

- `forward`, as in Act2Goal (Zhou et al., arXiv 2512.23541): several futures are imagined from the
  newest frame, and the one that comes nearest to the goal is followed.
- `backward`, as in latent backward planning (Liu et al., arXiv 2505.06861): pasts are imagined from
  the goal, by a world model of reversed recordings (`data convert --backwards`), and the one that
  comes nearest to the newest frame is followed. Its end is the goal, so it cannot miss it.

What differs: our video mode is not told the goal, so futures are drawn and chosen. The policy is
conditioned on one subgoal, `near` frames away, where Act2Goal's reads frames at several distances
and LBP's reads all subgoals. Frames are compared as latents. LBP predicts subgoals at halved
distances by an MLP; here every frame between is imagined.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from worldeval.axes import Array, Float, Float32, Int, UInt8
from worldeval.data.table import SUCCEEDED, RecordedEpisodes, read_table
from worldeval.errors import UserError
from worldeval.policy.goals import thumbnails
from worldeval.policy.load import load_policy
from worldeval.policy.protocol import PolicySpec
from worldeval.record import Observation
from worldeval.world.load import load_world
from worldeval.world.protocol import WorldSpec
from worldeval.world.uwm.world import UwmWorld
from worldeval.world.walk import Walk

WAYS = ("forward", "backward")
KEPT = 8  # ends of recordings of each task that may be goals


@runtime_checkable
class AimedPolicy(Protocol):
    """A policy that takes a goal image for every episode."""

    @property
    def spec(self) -> PolicySpec: ...

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None: ...

    def aim(self, frames: Mapping[str, UInt8[Array, "b h w 3"]]) -> None: ...

    def act(self, observation: Observation) -> Float32[Array, "b k a"]: ...


@runtime_checkable
class Dreaming(Protocol):
    """What is needed of a `uwm` world model."""

    @property
    def spec(self) -> WorldSpec: ...

    def encode(
        self, frames: Mapping[str, UInt8[Array, "b h w 3"]], tasks: Sequence[str]
    ) -> Float[Tensor, "b v d y x"]: ...

    def render(
        self, latents: Float32[Array, "n v d y x"], tasks: Sequence[str]
    ) -> dict[str, UInt8[Array, "n h w 3"]]: ...

    def begin_latents(
        self,
        latents: Float[Tensor, "b v d h w"],
        pose: Float32[Array, "b p"],
        tasks: Sequence[str],
        seeds: Sequence[int],
    ) -> Any: ...

    def dream(self, state: Any, *, frames: int) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Goal:
    """Where an episode is to end, for a batch."""

    frames: Mapping[str, UInt8[Array, "b h w 3"]]
    pose: Float32[Array, "b p"]


@runtime_checkable
class GoalSource(Protocol):
    """Says where episodes are to end."""

    def choose(self, observation: Observation) -> Goal: ...


class RecordedGoals:
    """The ends of recorded successes; an episode takes that of the one that began most alike."""

    def __init__(self, recorded: RecordedEpisodes, views: Sequence[str]) -> None:
        """Keep up to `KEPT` successes of every task; all episodes count where none is labelled."""
        table = recorded.episodes
        if recorded.labelled.any():
            table = table[table["success"] == SUCCEEDED]
        kept = table.groupby("task", sort=True).head(KEPT)
        self.tasks = kept["task"].to_numpy()
        first = kept["begin"].to_numpy()
        last = first + kept["length"].to_numpy() - 1
        self.ends = {view: recorded.frames(view, last) for view in views}
        self.pose = recorded.pose[last].astype(np.float32)
        self.begins = small({view: recorded.frames(view, first) for view in views})

    def choose(self, observation: Observation) -> Goal:
        """The goal of every episode, given its first frame.

        Raises:
            UserError: a task has no recorded success.
        """
        here = small({view: observation.frames[view] for view in self.ends})
        rows = [self._nearest(task, row) for task, row in zip(observation.tasks, here, strict=True)]
        frames = {view: ends[rows] for view, ends in self.ends.items()}
        return Goal(frames=frames, pose=self.pose[rows])

    def _nearest(self, task: str, begin: Float[Array, " n"]) -> int:
        own = np.flatnonzero(self.tasks == task)
        if not len(own):
            raise UserError(
                f"No recorded success of '{task}' can be its goal (there are: "
                f"{', '.join(sorted(set(self.tasks)))}). Give other recordings as goals=."
            )
        return int(own[np.square(self.begins[own] - begin).mean(1).argmin()])


def small(frames: Mapping[str, Any]) -> Float32[Array, "b n"]:
    """Thumbnails of all views, as one row for each episode."""
    stacked = np.stack([np.asarray(each, np.uint8) for each in frames.values()], axis=1)
    return thumbnails(torch.from_numpy(stacked)).numpy()


class GoalPlanner:
    """A policy that pursues one imagined subgoal after another; it is itself a `Policy`.

    Args:
        policy: conditioned on goal images.
        world: imagines futures; for `backward`, a model of reversed recordings, which imagines
            pasts.
        goals: where episodes are to end.
        candidates: futures or pasts that are drawn for each episode and query.
        frames: world frames of each.
        near: world frames to the subgoal.
    """

    def __init__(
        self,
        policy: AimedPolicy,
        world: Dreaming,
        goals: GoalSource,
        *,
        way: str = "forward",
        candidates: int = 8,
        frames: int = 16,
        near: int = 4,
    ) -> None:
        for name, value in (("candidates", candidates), ("frames", frames), ("near", near)):
            if value < 1:
                raise UserError(f"{name} is {value}; it must be at least 1.")
        if way not in WAYS:
            raise UserError(f"way is '{way}'; it must be forward or backward.")
        self.policy, self.world, self.goals, self.way = policy, world, goals, way
        self.candidates, self.frames, self.near = candidates, frames, near
        lineage = f"{policy.spec.lineage}-{way}"
        self._spec = replace(policy.spec, name=f"{policy.spec.name}-{way}", lineage=lineage)
        self._rngs: list[np.random.Generator] = []
        self._goal: Goal | None = None
        self._goal_latents: Float32[Array, "b v d h w"] | None = None

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Begin a batch; every episode's dreams come from its own seed."""
        self.policy.reset(tasks, seeds)
        self._rngs = [np.random.default_rng(seed) for seed in seeds]
        self._goal = None

    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        """Imagine the way to the goal, aim at a frame of it, and act."""
        tasks = observation.tasks
        if self._goal is None:
            self._goal = self.goals.choose(observation)
            self._goal_latents = self._encoded(self._goal.frames, tasks)
        self.policy.aim(self.world.render(self.subgoal(observation), tasks))
        return self.policy.act(observation)

    def subgoal(self, observation: Observation) -> Float32[Array, "b v d h w"]:
        """Latents of a frame on the way to the goal, `near` frames away at most."""
        assert self._goal is not None and self._goal_latents is not None
        now = self._encoded(observation.frames, observation.tasks)
        pose = np.asarray(observation.pose, np.float32)
        if self.way == "forward":
            dreams = self._dreams(now, pose, observation.tasks)
            best, place = nearest(dreams, self._goal_latents)
            return dreams[np.arange(len(now)), best, np.minimum(place, self.near - 1)]
        dreams = self._dreams(self._goal_latents, self._goal.pose, observation.tasks)
        # The goal itself is the beginning of every past.
        whole = np.concatenate(
            [np.repeat(self._goal_latents[:, None, None], self.candidates, 1), dreams], axis=2
        )
        best, place = nearest(whole, now)
        return whole[np.arange(len(now)), best, np.maximum(place - self.near, 0)]

    def _dreams(
        self,
        latents: Float32[Array, "b v d h w"],
        pose: Float32[Array, "b p"],
        tasks: Sequence[str],
    ) -> Float32[Array, "b c n v d h w"]:
        rows: list[int] = np.repeat(np.arange(len(latents)), self.candidates).tolist()
        seeds = [int(self._rngs[row].integers(2**31)) for row in rows]
        begun = torch.from_numpy(latents[rows])
        state = self.world.begin_latents(begun, pose[rows], [tasks[row] for row in rows], seeds)
        seen, left = [], self.frames
        while left > 0:
            walk: Walk = self.world.dream(state, frames=min(left, self._chunk)).walk
            seen.append(np.asarray(walk.latents, np.float32))
            state, left = walk.state, left - seen[-1].shape[1]
        every = np.concatenate(seen, axis=1)
        return every.reshape(len(latents), self.candidates, *every.shape[1:])

    @property
    def _chunk(self) -> int:
        return self.world.model.recipe.chunk if isinstance(self.world, UwmWorld) else self.frames

    def _encoded(
        self, frames: Mapping[str, Any], tasks: Sequence[str]
    ) -> Float32[Array, "b v d h w"]:
        seen = {view: np.asarray(frames[view]) for view in self.world.spec.views}
        return self.world.encode(seen, tasks).cpu().numpy()


def nearest(
    dreams: Float32[Array, "b c n v d h w"], goal: Float32[Array, "b v d h w"]
) -> tuple[Int[Array, " b"], Int[Array, " b"]]:
    """The dream of each episode that comes nearest to its `goal`, and the frame where it does."""
    apart = np.square(dreams - goal[:, None, None]).mean(axis=(3, 4, 5, 6))
    flat = apart.reshape(len(apart), -1).argmin(1)
    return flat // apart.shape[2], flat % apart.shape[2]


def load(
    policy: str,
    world: str,
    goals: str,
    way: str = "forward",
    candidates: int = 8,
    frames: int = 16,
    near: int = 4,
) -> GoalPlanner:
    """Load a planner: the address of a goal-conditioned policy, the folder of a `uwm` world model,
    and the dataset whose successes end where episodes are to end.

    Raises:
        UserError: the policy takes no goals, or the world model is of another family.
    """
    acting, imagining = load_policy(policy), load_world(Path(world))
    if not hasattr(acting, "aim"):
        raise UserError(f"{policy} takes no goals (it has no `aim`). Train the head `beso`.")
    if not isinstance(imagining, UwmWorld):
        raise UserError(
            f"{world} is not of the family 'uwm', the only one with a video mode. Give another."
        )
    recorded = read_table(Path(goals))
    book = RecordedGoals(recorded, imagining.spec.views)
    return GoalPlanner(
        acting,  # pyright: ignore[reportArgumentType]
        imagining,
        book,
        way=way,
        candidates=candidates,
        frames=frames,
        near=near,
    )
