"""Search at every replan: imagine several chunks and execute the one that the judge rates best.

Nothing is trained. The policy proposes candidates; noise from the episode's seed makes them differ.
Each is imagined, with the policy continuing after it, and judged. `best` takes the most probable
success of n candidates ('best-of-n'); `cem` refits a Gaussian to the best few (the cross-entropy
method of Rubinstein and Kroese, 2004). The candidates always include the policy's own proposal and
the rest of the previous plan.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from worldeval.axes import Array, Float, Float32, Int, UInt8
from worldeval.improve.place import Judging
from worldeval.improve.recipe import NOISE_MEMORY, SearchRecipe
from worldeval.policy.builtin import ColouredNoise
from worldeval.policy.protocol import Policy, PolicySpec
from worldeval.record import Observation, Rollout
from worldeval.rollout.actions import fitted
from worldeval.world.branch import Branching
from worldeval.world.protocol import WorldModel
from worldeval.world.walk import walk


@dataclass(frozen=True, kw_only=True)
class CandidateOutcomes:
    """Imagined outcomes of all candidates; rows are episodes times candidates."""

    actions: Float32[Array, "r look a"]
    latents: Float32[Array, "r look v d h w"]  # of the future frames
    pose: Float32[Array, "r look p"]


class Searched:
    """A policy that searches. It can be ranked like any other.

    The world model receives the observation at every call and keeps the rest: the first frame,
    every action, and what it imagined between two calls. A world that cannot be updated with
    observations begins anew at every call.
    """

    def __init__(
        self, policy: Policy, world: WorldModel, judge: Judging, recipe: SearchRecipe
    ) -> None:
        policy = fitted(policy, world.spec)
        self._policy, self._world, self._judge, self._recipe = policy, world, judge, recipe
        # Number of frames executed before the next call.
        self._executed = min(recipe.replan_every, policy.spec.chunk)
        name = f"{recipe.method}-of-{recipe.candidates}"
        self._spec = replace(policy.spec, name=f"{policy.spec.name}+{name}")
        self._tasks: tuple[str, ...] = ()
        self._seeds: tuple[int, ...] = ()
        self._calls = 0
        self._state: Any = None  # of the world, after the last choice
        self._seen: list[tuple[Array, Array]] = []  # latents and poses of every frame so far
        self._plan: Float32[Array, "b look a"] | None = None  # the rest of the last choice
        self.changed = 0.0  # share of choices that were not the policy's own

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Begin a batch of episodes."""
        self._tasks, self._seeds = tuple(tasks), tuple(int(seed) for seed in seeds)
        self._calls, self._state, self._seen = 0, None, []
        self._plan, self.changed = None, 0.0

    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        """Return the first chunk of every episode's best plan."""
        recipe, world, episodes = self._recipe, self._world, len(observation)
        pose = observation.pose.astype(np.float32)
        state = self._standing(observation.frames, pose)
        self._seen.append((world.latents(state)[:, None], pose[:, None]))
        noise = self._noise(episodes)
        noise[:, 0] = 0.0  # the first candidate is the policy's own proposal
        imagined = self._imagine(state, observation, noise, follow=self._plan)
        scores = self._score(imagined, episodes)
        plans = _apart(imagined.actions, episodes)
        if recipe.method == "cem":
            scores, plans = self._refine(state, observation, scores, plans)
        best = self._choice(scores)
        self.changed += (float((best != 0).mean()) - self.changed) / (self._calls + 1)
        self._calls += 1
        chosen = plans[np.arange(episodes), best]
        walked = walk(world, state, chosen[:, : self._executed])
        self._state = walked.state
        self._seen.append((walked.latents[:, :-1], walked.pose[:, :-1]))  # the last one is observed
        self._plan = chosen[:, self._executed :]
        return chosen[:, : self._policy.spec.chunk]

    @property
    def _ahead(self) -> int:
        """World frames to imagine: at most to the episode's end, at least a whole chunk."""
        left = self._recipe.horizon - self._calls * self._executed
        return max(min(self._recipe.lookahead, left), self._policy.spec.chunk)

    def _standing(
        self, frames: Mapping[str, UInt8[Array, "b h w 3"]], pose: Float32[Array, "b p"]
    ) -> Any:
        """Return the world's state at the current observation."""
        if self._state is None or not isinstance(self._world, Branching):
            return self._world.begin(frames, pose, self._tasks, self._seeds)
        return self._world.observe(self._state, frames, pose, self._tasks)

    def _branched(
        self, state: Any, frames: Mapping[str, UInt8[Array, "r h w 3"]], pose: Array
    ) -> Any:
        """Branch the state for every candidate; randomness is shared within an episode."""
        rows = np.arange(len(self._tasks)).repeat(len(pose) // len(self._tasks))
        if isinstance(self._world, Branching):
            return self._world.branch(state, rows)
        tasks = [self._tasks[row] for row in rows]
        return self._world.begin(frames, pose, tasks, [self._seeds[row] for row in rows])

    def _choice(self, scores: Float[Array, "b n"]) -> Int[Array, " b"]:
        """Select the best candidate; the policy's own if no other exceeds it by the margin."""
        best = scores.argmax(1)
        gain = scores[np.arange(len(scores)), best] - scores[:, 0]
        return np.where(gain > self._recipe.margin, best, 0)

    def _noise(self, episodes: int) -> Float32[Array, "b n look a"]:
        """Draw slowly varying noise over the whole look-ahead, from each episode's seed."""
        recipe, action_dim = self._recipe, self._world.spec.action_dim
        step_dim = recipe.step_dim or action_dim
        coloured = ColouredNoise(step_dim, size=recipe.noise, memory=NOISE_MEMORY)
        coloured.reset(
            [
                np.random.default_rng([seed, self._calls, candidate, 11])
                for seed in self._seeds
                for candidate in range(recipe.candidates)
            ]
        )
        half = (self._world.spec.high - self._world.spec.low) / 2
        return _apart(coloured.chunk(self._ahead, action_dim) * half, episodes)

    def _imagine(
        self,
        state: Any,
        observation: Observation,
        noise: Float32[Array, "b n look a"],
        *,
        follow: Float32[Array, "b rest a"] | None = None,
        chunks: Float32[Array, "b n k a"] | None = None,
    ) -> CandidateOutcomes:
        """Imagine every candidate; the policy acts wherever no action is given.

        The second candidate executes the plan `follow` to its end; `chunks`, if given, are the
        first chunks of all candidates.
        """
        count, look = noise.shape[1:3]
        tasks = tuple(task for task in self._tasks for _ in range(count))
        frames = {view: np.repeat(seen, count, 0) for view, seen in observation.frames.items()}
        pose = np.repeat(observation.pose, count, 0).astype(np.float32)
        state = self._branched(state, frames, pose)
        seeds = [self._draw(seed, candidate) for seed in self._seeds for candidate in range(count)]
        self._policy.reset(tasks, seeds)
        shaken = noise.reshape(-1, *noise.shape[2:])
        latents, poses, actions = [], [], []
        for begin in range(0, look, self._executed):
            if begin:
                frames = self._world.render(latents[-1][:, -1], tasks)
                pose = poses[-1][:, -1]
            seen = Observation(frames=frames, pose=pose, tasks=tasks)
            chunk = np.array(self._policy.act(seen.own()), np.float32)
            part = slice(begin, min(begin + self._executed, look))
            action = self._within(chunk[:, : part.stop - begin] + shaken[:, part])
            if follow is not None and count > 1:
                rest = follow[:, part]
                action[1::count, : rest.shape[1]] = rest
            if chunks is not None:
                given = chunks[:, :, part].reshape(len(action), -1, action.shape[2])
                action[:, : given.shape[1]] = given
            walked = walk(self._world, state, action)
            state = walked.state
            actions.append(action)
            latents.append(walked.latents)
            poses.append(walked.pose)
        return CandidateOutcomes(
            actions=np.concatenate(actions, 1),
            latents=np.concatenate(latents, 1),
            pose=np.concatenate(poses, 1),
        )

    def _within(self, actions: Float[Array, "*n a"]) -> Float32[Array, "*n a"]:
        spec = self._world.spec
        return np.clip(actions, spec.low, spec.high).astype(np.float32)

    def _draw(self, seed: int, candidate: int) -> int:
        """Seed of a candidate's own noise in policy and world."""
        return int(np.random.default_rng([seed, self._calls, candidate, 13]).integers(2**31))

    def _score(self, imagined: CandidateOutcomes, episodes: int) -> Float[Array, "b n"]:
        """Return the highest success probability among the future frames.

        The judge sees the episode from its start, frame by frame. Success that it predicted at
        earlier frames is not credited to any candidate.
        """
        count = len(imagined.actions) // episodes
        seen, hands = (np.concatenate(part, 1) for part in zip(*self._seen, strict=True))
        latents = np.concatenate([np.repeat(seen, count, 0), imagined.latents], 1)
        pose = np.concatenate([np.repeat(hands, count, 0), imagined.pose], 1)
        latents, pose = latents.astype(np.float16), pose.astype(np.float32)
        idle = np.zeros((pose.shape[1] - 1, imagined.actions.shape[2]), np.float32)
        rollouts = [
            Rollout(
                start="",
                task=self._tasks[row // count],
                policy=self._spec.name,
                seed=0,
                actions=idle,
                pose=pose[row],
                latents=latents[row],
            )
            for row in range(len(pose))
        ]
        to_come = self._judge.over_time(rollouts)[:, seen.shape[1] :]
        return to_come.max(1).reshape(episodes, count)

    def _refine(
        self,
        state: Any,
        observation: Observation,
        scores: Float[Array, "b n"],
        plans: Float32[Array, "b n look a"],
    ) -> tuple[Float[Array, "b every"], Float32[Array, "b every look a"]]:
        """Refine the first chunk by the cross-entropy method; returns every candidate it tried."""
        recipe, chunk, episodes = self._recipe, self._policy.spec.chunk, len(observation)
        every_score, every_plan = [scores], [plans]
        rngs = [np.random.default_rng([seed, self._calls, 17]) for seed in self._seeds]
        for _ in range(recipe.iterations - 1):
            top = np.argsort(-scores, 1, kind="stable")[:, : recipe.elites]
            elite = np.take_along_axis(plans, top[:, :, None, None], 1)[:, :, :chunk]
            mean, std = elite.mean(1, keepdims=True), elite.std(1, keepdims=True)
            shape = (recipe.candidates, *mean.shape[2:])
            fresh = np.stack([rng.standard_normal(shape) for rng in rngs])
            drawn = self._within(mean + std * fresh)
            imagined = self._imagine(state, observation, np.zeros_like(plans), chunks=drawn)
            scores, plans = self._score(imagined, episodes), _apart(imagined.actions, episodes)
            every_score.append(scores)
            every_plan.append(plans)
        return np.concatenate(every_score, 1), np.concatenate(every_plan, 1)


def _apart(rows: Array, episodes: int) -> Array:
    """Split rows of episodes times candidates into two axes."""
    return rows.reshape(episodes, -1, *rows.shape[1:])
