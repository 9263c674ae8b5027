"""Whole episodes drawn near a policy: the joint mode of `uwm`, guided by the policy's likelihood.

Policy-guided diffusion (arXiv 2404.06356) over episodes instead of single states: every chunk's
actions are drawn together with where they lead, moved to what the policy would do. In between what
the data did (scale 0) and what the policy does (a large scale), episodes stay where the world model
has seen data; for a policy far from its data that is where it errs least.
"""

from collections.abc import Sequence

import numpy as np
import torch

from worldeval.imagine.actions import fitted
from worldeval.imagine.loop import begin_at, rollouts_of
from worldeval.policy.protocol import Policy
from worldeval.record import Observation, Rollout, Start
from worldeval.world.uwm.guidance import gaussian, policy_guide
from worldeval.world.uwm.world import UwmWorld
from worldeval.world.walk import walk


def imagine_guided(
    world: UwmWorld,
    policy: Policy,
    starts: Sequence[Start],
    *,
    horizon: int,
    scale: float,
    std: float,
    seeds: Sequence[int],
) -> list[Rollout]:
    """Draw an episode from every start, moved to `policy` by `scale`.

    The policy is taken as Gaussian around the chunk it gives, with deviation `std` in the robot's
    units; it is asked again when its chunk, or the world's, is used up. `trust` keeps the mean
    log-likelihood of the drawn actions, per number.
    """
    policy = fitted(policy, world.spec)
    tasks = tuple(start.task for start in starts)
    policy.reset(tasks, seeds)
    state = begin_at(world, starts, seeds)
    chunk = min(policy.spec.chunk, world.model.recipe.chunk)
    action_std = world.model.features.action_std
    latents, poses = [world.latents(state)[:, None]], [world.pose(state)[:, None]]
    actions, likely, done = [], [], 0
    while done < horizon:
        frames = world.render(world.latents(state), tasks)
        observation = Observation(frames=frames, pose=world.pose(state), tasks=tasks)
        count = min(chunk, horizon - done)
        wanted = np.asarray(policy.act(observation), np.float32)[:, :count]
        target = gaussian(world.tensor(wanted), std)
        guide = policy_guide(target, scale=scale, action_std=action_std)
        drawn = world.propose(state, frames=count, guide=guide)
        likely.append(target(torch.from_numpy(drawn).to(world.device)).cpu().numpy())
        walked = walk(world, state, drawn)
        state, done = walked.state, done + count
        actions.append(drawn)
        latents.append(walked.latents)
        poses.append(walked.pose)
    numbers = horizon * world.spec.action_dim
    trust = [{"log_likelihood": float(each) / numbers} for each in np.sum(likely, 0)]
    name = f"{policy.spec.name}+data" if scale else "data"
    return rollouts_of(starts, name, seeds, latents, poses, actions, trust)
