"""What off-policy improvement learns from: imagined episodes as observations and transitions.

Episodes of any policy fit: those imagined now, those of earlier iterations, and recorded actions
replayed in the world model, so that states and rewards come from one source.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from worldeval.axes import Array
from worldeval.data.table import RecordedEpisodes
from worldeval.improve.critic import n_step
from worldeval.improve.experience import highest_so_far, rewards
from worldeval.improve.features import Tapped, features_of
from worldeval.improve.place import Simulation
from worldeval.improve.samples import CALLED
from worldeval.improve.units import ChunkUnits
from worldeval.policy.checkpoint import LearnedPolicy
from worldeval.policy.demos import Demos
from worldeval.policy.protocol import Policy
from worldeval.record import Rollout, Start
from worldeval.rollout.loop import imagine, replay_actions
from worldeval.world.protocol import WorldModel

AFTER = 2  # world frames after success is first predicted from which there is nothing to learn


@dataclass(frozen=True, kw_only=True, eq=False)
class Memory:
    """Observations of every frame, and the transitions between calls of the policy.

    `demos` has the actions that were executed, and `action` what a call executed, standardised.
    """

    demos: Demos
    rows: Int[Array, " n"]  # of `demos`, at the calls
    state: Float[Tensor, "n f"]  # what the critic reads
    action: Float[Tensor, "n ka"]
    reward: Float[Tensor, " n"]  # of several calls
    discount: Float[Tensor, " n"]  # of the value after them; 0 where the episode has ended
    after: Int[Tensor, " n"]  # the transition that begins there; where it has ended, any
    open: Bool[
        Array, " n"
    ]  # whether success is still to come, so that there is something to imitate
    probability: Float[Array, " e"]  # of success, of every episode

    def __len__(self) -> int:
        return len(self.rows)


def joined(parts: Sequence[Memory]) -> Memory:
    """Join memories, the oldest first."""
    frames = np.cumsum([0, *(len(part.demos) for part in parts)])
    calls = np.cumsum([0, *(len(part) for part in parts)])
    arrays = {
        name: np.concatenate([getattr(part.demos, name) for part in parts])
        for name in ("frames", "pose", "task", "actions", "before", "after")
    }
    episodes: dict[str, int] = {}
    for part in parts:
        for task, count in part.demos.episodes.items():
            episodes[task] = episodes.get(task, 0) + count
    return Memory(
        demos=replace(parts[0].demos, **arrays, episodes=episodes),
        rows=np.concatenate([part.rows + at for part, at in zip(parts, frames, strict=False)]),
        after=torch.cat([part.after + int(at) for part, at in zip(parts, calls, strict=False)]),
        open=np.concatenate([part.open for part in parts]),
        probability=np.concatenate([part.probability for part in parts]),
        **{
            name: torch.cat([getattr(part, name) for part in parts])
            for name in ("state", "action", "reward", "discount")
        },
    )


@dataclass(frozen=True, kw_only=True)
class ChunkRecorder:
    """Imagines episodes and remembers them."""

    place: Simulation
    policy: LearnedPolicy  # whose tasks, views and actions the memory has
    units: ChunkUnits
    calls: int  # whose rewards are summed
    gamma: float
    second: WorldModel | None = None  # rewards are the lower ones of both worlds

    def imagined(self, policy: Policy, starts: Sequence[Start], seeds: Sequence[int]) -> Memory:
        """Imagine one episode from every start."""
        place, parts = self.place, []
        for begin in range(0, len(starts), place.batch):
            part = list(starts[begin : begin + place.batch])
            world = Tapped(place.world)
            rollouts = imagine(
                world,
                policy,
                part,
                horizon=place.horizon,
                replan_every=place.replan_every,
                seeds=seeds[begin : begin + place.batch],
            )
            parts.append(self.remembered(world, part, rollouts))
        return joined(parts)

    def recorded(self, data: RecordedEpisodes, starts: Sequence[Start]) -> Memory:
        """Replay the recorded actions that follow `starts`, whose seeds are episodes of `data`.

        An episode that is too short repeats its last action.
        """
        place, parts = self.place, []
        for begin in range(0, len(starts), place.batch):
            part = list(starts[begin : begin + place.batch])
            world, seeds = Tapped(place.world), [start.seed for start in part]
            actions = np.stack([self._actions(data, start) for start in part])
            rollouts = replay_actions(world, part, actions, seeds=seeds)
            parts.append(self.remembered(world, part, rollouts))
        return joined(parts)

    def _actions(self, data: RecordedEpisodes, start: Start) -> Array:
        span = data.rows(start.seed)
        first = span.start + int(start.id.split("@")[1])
        at = np.minimum(first + np.arange(self.place.horizon), span.stop - 2)
        return data.actions[at].astype(np.float32)

    def remembered(
        self, world: Tapped, starts: Sequence[Start], rollouts: Sequence[Rollout]
    ) -> Memory:
        """Turn episodes that `world` has just imagined into a memory."""
        place = self.place
        highest = highest_so_far(place.judge, rollouts)
        if self.second is not None:
            actions = np.stack([rollout.actions for rollout in rollouts])
            seeds = [rollout.seed for rollout in rollouts]
            again = replay_actions(self.second, starts, actions, seeds=seeds)
            highest = np.minimum(highest, highest_so_far(place.judge, again))
        every, horizon = self.units.executed, place.horizon
        reward = torch.from_numpy(rewards(highest, every=every))
        total, discount = n_step(reward, calls=self.calls, gamma=self.gamma)
        state = features_of(world.noted, rollouts, place.world.spec.tasks, every=every)
        calls, episodes = reward.shape
        at = np.arange(calls) * every  # frames of the calls
        place_of = np.arange(calls * episodes).reshape(calls, episodes)
        after = np.minimum(place_of + self.calls * episodes, calls * episodes - 1)
        reached = np.where((highest >= CALLED).any(0), (highest >= CALLED).argmax(0), horizon)
        executed = [
            self.units.part(rollout.actions, int(frame)) for frame in at for rollout in rollouts
        ]
        return Memory(
            demos=self._demos(rollouts),
            rows=(at[:, None] + horizon * np.arange(episodes)).ravel(),
            state=state.flatten(0, 1),
            action=torch.stack(executed),
            reward=total.flatten(),
            discount=discount.flatten(),
            after=torch.from_numpy(after.ravel()),
            open=(at[:, None] < reached + AFTER).ravel(),
            probability=highest[-1].astype(float),
        )

    def _demos(self, rollouts: Sequence[Rollout]) -> Demos:
        """Every frame that an action follows, episode after episode."""
        policy, horizon = self.policy, self.place.horizon
        frames = []
        for rollout in rollouts:
            latents = np.asarray(rollout.latents)[:-1].astype(np.float32)
            shown = self.place.world.render(latents, [rollout.task] * horizon)
            frames.append(np.stack([shown[view] for view in policy.recipe.views], axis=1))
        ahead = np.minimum(
            np.arange(horizon)[:, None] + np.arange(policy.recipe.chunk), horizon - 1
        )
        tasks = [policy.sizes.tasks.index(rollout.task) for rollout in rollouts]
        named, counts = np.unique([rollout.task for rollout in rollouts], return_counts=True)
        before = np.tile(np.arange(horizon), len(rollouts))
        return Demos(
            frames=np.concatenate(frames),
            pose=np.concatenate([rollout.pose[:-1] for rollout in rollouts]).astype(np.float32),
            task=np.repeat(np.array(tasks, np.int64), horizon),
            actions=np.concatenate([rollout.actions[ahead] for rollout in rollouts]),
            tasks=policy.sizes.tasks,
            views=policy.recipe.views,
            episodes=dict(zip(named.tolist(), counts.tolist(), strict=True)),
            before=before,
            after=horizon - 1 - before,
        )
