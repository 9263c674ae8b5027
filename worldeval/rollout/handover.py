"""Hand-overs in imagination: one policy acts until a moment, and another one from there.

At every moment, the world's state is branched: the episodes of the first policy go on, and copies
of them continue with the second one. So all moments are imagined in one batch, and what lies before
a moment is imagined once.

The second policy is shown the shared history. It is reset at the start and asked at its own times
from the start on; its answers count from the moment on. So what it remembers (earlier frames, its
noise, a recurrent state) is as if it had watched the first policy act. It takes over only when it
would have been asked anyway.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from worldeval.axes import Array, Float32, Int
from worldeval.errors import UserError
from worldeval.policy.protocol import Policy
from worldeval.record import Observation, Rollout, Start
from worldeval.rollout.actions import fitted
from worldeval.rollout.chunks import ChunkQueue
from worldeval.rollout.loop import begin_at, shown_before
from worldeval.world.branch import Branching
from worldeval.world.protocol import WorldModel
from worldeval.world.walk import walk

MOMENTS = 30  # most moments that are tried between the first and the last frame


@dataclass(frozen=True, kw_only=True)
class Handovers:
    """Episodes from each start, one per moment of the hand-over."""

    moments: tuple[int, ...]  # world frames; 0: the second policy alone, the last: the first alone
    rollouts: list[list[Rollout]]  # of each start, at each moment


def moments_of(second: Policy, *, horizon: int, replan_every: int) -> tuple[int, ...]:
    """Return the frames at which `second` can take over, from 0 to `horizon`, at most `MOMENTS`."""
    every = second.spec.replans(replan_every)
    count = -(-horizon // every)
    return (*range(0, horizon, every * -(-count // MOMENTS)), horizon)


def hand_over(
    world: WorldModel,
    first: Policy,
    second: Policy,
    starts: Sequence[Start],
    *,
    horizon: int,
    replan_every: int,
    seeds: Sequence[int],
) -> Handovers:
    """Imagine `first` acting until each moment, and `second` from there, from every start.

    Equal to imagining each of these episodes on its own (`policy/handover.py`), with less work.

    Raises:
        UserError: the world's states cannot be branched, or a policy does not fit the world.
    """
    if not isinstance(world, Branching):
        raise UserError(
            f"A {type(world).__name__} cannot branch its states, so policies cannot be exchanged "
            "within an episode. Add `branch` and `observe` (see worldeval/world/branch.py)."
        )
    first, second = fitted(first, world.spec), fitted(second, world.spec)
    moments = moments_of(second, horizon=horizon, replan_every=replan_every)
    batch = _Batch(world, first, second, starts, moments, seeds=seeds, replan_every=replan_every)
    while batch.frame < horizon:
        batch.advance()
    return Handovers(moments=moments, rollouts=batch.rollouts())


class _Batch:
    """Rows of the batch: an episode of `first` per start, then those of `second`, moment by moment.

    Those of moments that are still to come are not in the world's state yet; until then the second
    policy sees the episode of `first` in their place.
    """

    def __init__(
        self,
        world: Any,
        first: Policy,
        second: Policy,
        starts: Sequence[Start],
        moments: Sequence[int],
        *,
        seeds: Sequence[int],
        replan_every: int,
    ) -> None:
        self._world, self._starts, self._seeds, self._moments = world, starts, seeds, moments
        self._count, self._copies = len(starts), len(moments) - 1
        self._policies = (first, second)
        tasks = tuple(start.task for start in starts)
        self._tasks = tasks * (1 + self._copies)
        first.reset(tasks, list(seeds))
        second.reset(tasks * self._copies, list(seeds) * self._copies)
        low, high = world.spec.low, world.spec.high
        self._queues = [
            ChunkQueue(policy, replan_every=replan_every, low=low, high=high)
            for policy in self._policies
        ]
        self._waiting: list[Float32[Array, "b k a"] | None] = [None, None]
        self._state = begin_at(world, starts, seeds)
        self._live, self.frame = self._count, 0  # rows in the state, frames done
        rows, frames = len(self._tasks), moments[-1] + 1
        z, p = world.latents(self._state), world.pose(self._state)
        self._latents = np.zeros((rows, frames, *z.shape[1:]), np.float32)
        self._pose = np.zeros((rows, frames, *p.shape[1:]), np.float32)
        self._actions = np.zeros((rows, frames - 1, world.spec.action_dim), np.float32)
        self._latents[: self._count, 0], self._pose[: self._count, 0] = z, p

    def advance(self) -> None:
        """Branch at a moment, ask the policies where they are to be asked, and go on to the next
        frame at which anything happens."""
        self._branch()
        ahead = self._moments[-1] - self.frame
        for side, rows in enumerate((slice(self._count), slice(self._count, None))):
            if self._waiting[side] is None:
                self._waiting[side] = self._queues[side].take(
                    lambda side=side, rows=rows: self._seen(side, rows),
                    self._world.spec.action_dim,
                    most=ahead,
                )
        first, second = self._waiting
        assert first is not None and second is not None
        steps = min(first.shape[1], second.shape[1])
        acting = second[: self._live - self._count, :steps]
        actions = np.concatenate([first[:, :steps], acting])
        walked = walk(self._world, self._state, actions)
        self._state = walked.state
        now, rows = self.frame, slice(self._live)
        self._actions[rows, now : now + steps] = actions
        self._latents[rows, now + 1 : now + 1 + steps] = walked.latents
        self._pose[rows, now + 1 : now + 1 + steps] = walked.pose
        self._waiting = [left[:, steps:] if left.shape[1] > steps else None
                         for left in (first, second)]  # fmt: skip
        self.frame += steps

    def rollouts(self) -> list[list[Rollout]]:
        """Return the finished episodes, by start and moment."""
        first, second = (policy.spec.name for policy in self._policies)
        order = [*range(1, self._copies + 1), 0]  # the first policy alone is the last moment
        return [
            [self._rollout(turn * self._count + place, start, seed, f"{first}>{second}")
             for turn in order]
            for place, (start, seed) in enumerate(zip(self._starts, self._seeds, strict=True))
        ]  # fmt: skip

    def _branch(self) -> None:
        """Add the episodes in which the second policy takes over now."""
        if self.frame not in self._moments[:-1]:
            return
        count, live = self._count, self._live
        self._state = self._world.branch(
            self._state, np.concatenate([np.arange(live), np.arange(count)])
        )
        new, now = slice(live, live + count), self.frame
        self._latents[new, : now + 1] = self._latents[:count, : now + 1]
        self._pose[new, : now + 1] = self._pose[:count, : now + 1]
        self._actions[new, :now] = self._actions[:count, :now]
        self._live += count

    def _seen(self, side: int, rows: slice) -> Observation:
        """Show the rows of one policy what they look like; every picture is rendered once."""
        shown = self._count if side == 0 else self._live
        tasks, now = self._tasks[:shown], self.frame
        latents, pose = self._latents[:shown, : now + 1], self._pose[:shown, : now + 1]
        history = self._policies[side].spec.history
        past = shown_before(self._world, tasks, [latents], [pose], count=history - 1)
        frames = self._world.render(latents[:, -1], tasks)
        seen = Observation(frames=frames, pose=pose[:, -1].copy(), tasks=tasks, past=past)
        if side == 0:
            return seen
        live, count = self._live, self._count
        later = np.arange(live, len(self._tasks)) % count  # rows that are still those of `first`
        return seen.each(lambda moment: _rows(moment, np.append(np.arange(count, live), later)))

    def _rollout(self, row: int, start: Start, seed: int, name: str) -> Rollout:
        return Rollout(
            start=start.id,
            task=start.task,
            policy=name,
            seed=int(seed),
            actions=self._actions[row],
            pose=self._pose[row],
            latents=self._latents[row].astype(np.float16),
        )


def _rows(moment: Observation, rows: Int[Array, " n"]) -> Observation:
    frames = {view: images[rows] for view, images in moment.frames.items()}
    tasks = tuple(moment.tasks[row] for row in rows)
    return replace(moment, frames=frames, pose=moment.pose[rows], tasks=tasks)
