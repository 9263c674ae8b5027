"""Search at every replan: imagine several chunks, act on the one that the judge likes best.

Nothing is trained. The policy proposes; noise that the episode's seed decides sets the proposals
apart; each is imagined with the policy going on after it, and judged. `best` takes the likeliest
of n ('best-of-n'); `cem` refits a Gaussian around the likeliest few (the cross-entropy method of
Rubinstein and Kroese, 2004). The policy's own proposal and the rest of the last plan are always
among them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from worldeval.axes import Array, Float, Float32, Int
from worldeval.imagine.actions import fitted
from worldeval.improve.place import Judging
from worldeval.improve.recipe import SearchRecipe
from worldeval.policy.builtin import ColouredNoise
from worldeval.policy.protocol import Policy, PolicySpec
from worldeval.record import Observation, Rollout
from worldeval.world.protocol import WorldModel
from worldeval.world.walk import walk


@dataclass(frozen=True, kw_only=True)
class Imagined:
    """What came of the candidates of every episode; rows are episodes times candidates."""

    actions: Float32[Array, "r look a"]
    latents: Float32[Array, "r look1 v d h w"]  # from the frame observed on
    pose: Float32[Array, "r look1 p"]


class Searched:
    """A policy that searches. It can be ranked like any other."""

    def __init__(
        self, policy: Policy, world: WorldModel, judge: Judging, recipe: SearchRecipe
    ) -> None:
        policy = fitted(policy, world.spec)
        self._policy, self._world, self._judge, self._recipe = policy, world, judge, recipe
        # What is carried out of a chunk before the next call.
        self._executed = min(recipe.replan_every, policy.spec.chunk)
        self._look = max(recipe.lookahead, policy.spec.chunk)
        name = f"{recipe.method}-of-{recipe.candidates}"
        self._spec = replace(policy.spec, name=f"{policy.spec.name}+{name}")
        self._tasks: tuple[str, ...] = ()
        self._seeds: tuple[int, ...] = ()
        self._calls = 0
        self._seen: list[tuple[Array, Array]] = []  # latents and pose at every call so far
        self._plan: Float32[Array, "b look a"] | None = None  # the rest of the last choice
        self.changed = 0.0  # share of choices that were not the policy's own

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Begin a batch of episodes."""
        self._tasks, self._seeds = tuple(tasks), tuple(int(seed) for seed in seeds)
        self._calls, self._seen, self._plan, self.changed = 0, [], None, 0.0

    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        """The first chunk of the likeliest plan of every episode."""
        recipe, episodes = self._recipe, len(observation)
        noise = self._noise(episodes)
        own = np.arange(recipe.candidates) == 0
        noise[:, own] = 0.0  # the policy's own proposal is one of them
        imagined = self._imagine(observation, noise, follow=self._plan)
        scores = self._score(imagined, episodes)
        plans = _apart(imagined.actions, episodes)
        if recipe.method == "cem":
            scores, plans = self._refine(observation, scores, plans)
        best = self._choice(scores)
        self.changed += (float((best != 0).mean()) - self.changed) / (self._calls + 1)
        self._seen.append((imagined.latents[:: recipe.candidates, 0], observation.pose))
        self._calls += 1
        chosen = plans[np.arange(episodes), best]
        self._plan = chosen[:, self._executed :]
        return chosen[:, : self._policy.spec.chunk]

    def _choice(self, scores: Float[Array, "b n"]) -> Int[Array, " b"]:
        """The likeliest; the policy's own where no other is better by the margin."""
        best = scores.argmax(1)
        gain = scores[np.arange(len(scores)), best] - scores[:, 0]
        return np.where(gain > self._recipe.margin, best, 0)

    def _noise(self, episodes: int) -> Float32[Array, "b n look a"]:
        """Slowly changing noise over the whole look-ahead, from each episode's seed."""
        recipe, action_dim = self._recipe, self._world.spec.action_dim
        coloured = ColouredNoise(recipe.step_dim, size=recipe.noise, memory=recipe.memory)
        coloured.reset(
            [
                np.random.default_rng([seed, self._calls, candidate, 11])
                for seed in self._seeds
                for candidate in range(recipe.candidates)
            ]
        )
        return _apart(coloured.chunk(self._look, action_dim), episodes)

    def _imagine(
        self,
        observation: Observation,
        noise: Float32[Array, "b n look a"],
        *,
        follow: Float32[Array, "b rest a"] | None = None,
        chunks: Float32[Array, "b n k a"] | None = None,
    ) -> Imagined:
        """Carry every candidate out in imagination, the policy deciding where nothing else does.

        `follow` is a plan that the second candidate carries out to its end; `chunks` are the first
        chunks of every candidate where they are given.
        """
        count = noise.shape[1]
        tasks = tuple(task for task in self._tasks for _ in range(count))
        frames = {view: np.repeat(seen, count, 0) for view, seen in observation.frames.items()}
        pose = np.repeat(observation.pose, count, 0).astype(np.float32)
        seeds = [self._draw(seed, candidate) for seed in self._seeds for candidate in range(count)]
        state = self._world.begin(frames, pose, tasks, seeds)
        self._policy.reset(tasks, seeds)
        shaken = noise.reshape(-1, *noise.shape[2:])
        latents, poses = [self._world.latents(state)[:, None]], [self._world.pose(state)[:, None]]
        actions = []
        for begin in range(0, self._look, self._executed):
            if begin:
                frames = self._world.render(latents[-1][:, -1], tasks)
                pose = poses[-1][:, -1]
            chunk = self._policy.act(Observation(frames=frames, pose=pose, tasks=tasks))
            part = slice(begin, min(begin + self._executed, self._look))
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
        return Imagined(
            actions=np.concatenate(actions, 1),
            latents=np.concatenate(latents, 1),
            pose=np.concatenate(poses, 1),
        )

    def _within(self, actions: Float[Array, "*n a"]) -> Float32[Array, "*n a"]:
        spec = self._world.spec
        return np.clip(actions, spec.low, spec.high).astype(np.float32)

    def _draw(self, seed: int, candidate: int) -> int:
        """The seed of a candidate's own noise in policy and world."""
        return int(np.random.default_rng([seed, self._calls, candidate, 13]).integers(2**31))

    def _score(self, imagined: Imagined, episodes: int) -> Float[Array, "b n"]:
        """The judge's probability of success by the end of the look-ahead.

        It is shown the episode so far, as observed at every call, and then what is imagined.
        """
        count = len(imagined.actions) // episodes
        latents = [np.repeat(seen, count, 0)[:, None] for seen, _ in self._seen]
        poses = [np.repeat(pose, count, 0)[:, None] for _, pose in self._seen]
        latents = np.concatenate([*latents, imagined.latents], 1).astype(np.float16)
        pose = np.concatenate([*poses, imagined.pose], 1).astype(np.float32)
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
        verdicts = self._judge(rollouts)
        return np.array([verdict.probability for verdict in verdicts]).reshape(episodes, count)

    def _refine(
        self,
        observation: Observation,
        scores: Float[Array, "b n"],
        plans: Float32[Array, "b n look a"],
    ) -> tuple[Float[Array, "b every"], Float32[Array, "b every look a"]]:
        """Cross-entropy over the first chunk, from the proposals on; all that it saw stays."""
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
            imagined = self._imagine(observation, np.zeros_like(plans), chunks=drawn)
            scores, plans = self._score(imagined, episodes), _apart(imagined.actions, episodes)
            every_score.append(scores)
            every_plan.append(plans)
        return np.concatenate(every_score, 1), np.concatenate(every_plan, 1)


def _apart(rows: Array, episodes: int) -> Array:
    """Rows of episodes times candidates as two axes."""
    return rows.reshape(episodes, -1, *rows.shape[1:])
