"""The closed loop: a policy acts in a world model, in a batch of episodes."""

from collections.abc import Sequence

import numpy as np

from worldeval.axes import Array, Float32
from worldeval.policy.protocol import Policy
from worldeval.record import Observation, Rollout, Start
from worldeval.rollout.actions import fitted
from worldeval.rollout.chunks import ChunkQueue
from worldeval.rollout.starts import Recording
from worldeval.world.protocol import WorldModel
from worldeval.world.walk import walk


def imagine(
    world: WorldModel,
    policy: Policy,
    starts: Sequence[Start],
    *,
    horizon: int,
    replan_every: int,
    seeds: Sequence[int],
) -> list[Rollout]:
    """Roll `policy` out from every start, as one batch.

    Its actions are converted to the world's (see actions.py), or refused if they cannot be.
    """
    policy = fitted(policy, world.spec)
    history = policy.spec.history
    tasks = tuple(start.task for start in starts)
    policy.reset(tasks, seeds)
    spec = world.spec
    queue = ChunkQueue(policy, replan_every=replan_every, low=spec.low, high=spec.high)
    state = begin_at(world, starts, seeds)

    latents, poses = (
        [np.array(part)[:, None]] for part in (world.latents(state), world.pose(state))
    )
    actions: list[Float32[Array, "b t a"]] = []

    def observe() -> Observation:
        frames = world.render(world.latents(state), tasks)
        past = shown_before(world, tasks, latents, poses, count=history - 1)
        return Observation(frames=frames, pose=world.pose(state), tasks=tasks, past=past)

    done = 0
    while done < horizon:
        actions.append(queue.take(observe, spec.action_dim, most=horizon - done))
        walked = walk(world, state, actions[-1])
        state, done = walked.state, done + actions[-1].shape[1]
        latents.append(walked.latents)
        poses.append(walked.pose)
    given = max(queue.given // len(starts), 1)  # numbers per episode
    trust = [{"mended_actions": float(count) / given} for count in queue.clipped_each]
    return rollouts_of(starts, policy.spec.name, seeds, latents, poses, actions, trust)


def shown_before(
    world: WorldModel,
    tasks: tuple[str, ...],
    latents: Sequence[Float32[Array, "b _t v d h w"]],
    poses: Sequence[Float32[Array, "b _t p"]],
    *,
    count: int,
) -> tuple[Observation, ...]:
    """Render the `count` world frames before the newest, oldest first, for policies with history.

    `latents` and `poses` are the parts of the episode so far, ending with the newest frame. Frames
    before the start are copies of the start.
    """
    if not count:
        return ()
    z, p = (np.concatenate(part[-count - 1 :], 1) for part in (latents, poses))
    places = [max(len(p[0]) - 1 - back, 0) for back in range(count, 0, -1)]
    drawn = {
        place: world.render(np.asarray(z[:, place], np.float32), tasks) for place in set(places)
    }
    return tuple(
        Observation(frames=drawn[place], pose=p[:, place].copy(), tasks=tasks) for place in places
    )


def replay(world: WorldModel, recordings: Sequence[Recording]) -> list[Rollout]:
    """Execute recorded actions in imagination. Recordings must have the same length."""
    starts = [recording.start for recording in recordings]
    seeds = [start.seed for start in starts]
    recorded = np.stack([recording.actions for recording in recordings])
    return replay_actions(world, starts, recorded, seeds=seeds)


def replay_actions(
    world: WorldModel,
    starts: Sequence[Start],
    actions: Float32[Array, "b t a"],
    *,
    seeds: Sequence[int],
) -> list[Rollout]:
    """Execute given actions in imagination."""
    state = begin_at(world, starts, seeds)
    first = np.array(world.latents(state)), np.array(world.pose(state))
    walked = walk(world, state, actions)
    latents, poses = [first[0][:, None], walked.latents], [first[1][:, None], walked.pose]
    return rollouts_of(starts, "replay", seeds, latents, poses, [actions], [{} for _ in starts])


def begin_at(world: WorldModel, starts: Sequence[Start], seeds: Sequence[int]):
    views = world.spec.views
    frames = {view: np.stack([start.frames[view] for start in starts]) for view in views}
    pose = np.stack([start.pose for start in starts])
    return world.begin(frames, pose, [start.task for start in starts], seeds)


def rollouts_of(
    starts: Sequence[Start],
    policy: str,
    seeds: Sequence[int],
    latents: list[Array],
    poses: list[Array],
    actions: list[Array],
    trust: list[dict[str, float]],
) -> list[Rollout]:
    """Assemble the episodes of a batch from consecutive parts (joined along axis 1)."""
    z, p, a = (np.concatenate(part, 1) for part in (latents, poses, actions))
    return [
        Rollout(
            start=start.id,
            task=start.task,
            policy=policy,
            seed=int(seed),
            actions=a[i],
            pose=p[i],
            latents=z[i].astype(np.float16),
            trust=trust[i],
        )
        for i, (start, seed) in enumerate(zip(starts, seeds, strict=True))
    ]
