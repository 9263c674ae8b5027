"""Sample whole episodes near a policy: joint mode of `uwm`, guided by the policy's likelihood.

Policy-guided diffusion (arXiv 2404.06356) over episodes instead of single states: each chunk's
actions are sampled together with the frames they lead to, and moved towards the policy's actions.
Between the behaviour in the data (scale 0) and the policy's (a large scale), episodes stay where
the world model has seen data; for a policy far from its data, that is where it errs least. Such
episodes no longer show what the policy alone would do, so they are for viewing and training, not
for ranking.
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from worldeval.axes import Array, Float
from worldeval.policy.protocol import Policy
from worldeval.record import Observation, Rollout, Start
from worldeval.rollout.actions import fitted
from worldeval.rollout.chunks import ChunkQueue
from worldeval.rollout.loop import begin_at, rollouts_of, shown_before
from worldeval.rollout.recipe import GuidedRecipe
from worldeval.world.uwm.guidance import gaussian, policy_guide
from worldeval.world.uwm.modes import Guide
from worldeval.world.uwm.world import UwmWorld


def imagine_guided(
    world: UwmWorld,
    policy: Policy,
    starts: Sequence[Start],
    *,
    horizon: int,
    replan_every: int,
    guided: GuidedRecipe,
    seeds: Sequence[int],
    steps: int | None = None,
) -> list[Rollout]:
    """Sample an episode from every start, moved towards `policy` by `guided.scale`.

    The policy is treated as a Gaussian around its chunk. It is queried every `replan_every` frames,
    or when its chunk or the world's is used up. Every chunk takes `steps` sampler steps; by default
    as many as the world's own policy. In addition to the loop's signals, `trust` holds the mean
    log-likelihood of the sampled actions, per number.
    """
    policy, spec = fitted(policy, world.spec), world.spec
    tasks = tuple(start.task for start in starts)
    policy.reset(tasks, seeds)
    queue = ChunkQueue(policy, replan_every=replan_every, low=spec.low, high=spec.high)
    queue.replan_every = min(queue.replan_every, world.model.recipe.chunk)
    spread = world.model.features.action_std
    state = begin_at(world, starts, seeds)

    latents, poses = [world.latents(state)[:, None]], [world.pose(state)[:, None]]

    def observe() -> Observation:
        frames = world.render(world.latents(state), tasks)
        past = shown_before(world, tasks, latents, poses, count=policy.spec.history - 1)
        return Observation(frames=frames, pose=world.pose(state), tasks=tasks, past=past)

    actions, likely, done = [], np.zeros(len(starts)), 0
    while done < horizon:
        wanted = queue.take(observe, spec.action_dim, most=horizon - done)
        target = gaussian(world.tensor(wanted), guided.std * spread)
        guide = policy_guide(
            target, scale=guided.scale, action_std=spread, weighted=guided.weighted
        )
        proposed = world.propose(
            state,
            frames=wanted.shape[1],
            guide=_within(guide, world.tensor(spec.low), world.tensor(spec.high)),
            steps=steps,
        )
        state, done = proposed.walk.state, done + wanted.shape[1]
        likely += target(world.tensor(proposed.actions)).cpu().numpy()
        actions.append(np.clip(proposed.actions, spec.low, spec.high))  # removes rounding excess
        latents.append(proposed.walk.latents)
        poses.append(proposed.walk.pose)
    return rollouts_of(
        starts,
        policy.spec.name,
        seeds,
        latents,
        poses,
        actions,
        _trust(queue, likely / (horizon * spec.action_dim)),
    )


def _within(guide: Guide, low: Float[Tensor, " a"], high: Float[Tensor, " a"]) -> Guide:
    """Keep the guide within the world's action range, so that frames match the executed actions."""
    return lambda actions, moment: guide(actions, moment).clamp(low, high)


def _trust(queue: ChunkQueue, likely: Float[Array, " b"]) -> list[dict[str, float]]:
    given = max(queue.given // len(likely), 1)  # numbers per episode
    return [
        {"mended_actions": float(count) / given, "log_likelihood": float(each)}
        for count, each in zip(queue.clipped_each, likely, strict=True)
    ]
