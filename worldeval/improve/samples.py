"""Convert selected attempts to episodes with frames, training samples and provenance records."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from worldeval.axes import Array, Float, Int
from worldeval.improve.place import Attempt, Judging
from worldeval.policy.demos import Demos
from worldeval.record import Episode
from worldeval.world.protocol import WorldModel

CALLED = 0.5  # success probability from which a verdict counts as a success
BATCH = 100  # attempts judged at a time


def episode(attempt: Attempt, world: WorldModel) -> Episode:
    """Decode an imagined episode's frames."""
    rollout = attempt.rollout
    latents = np.asarray(rollout.latents).astype(np.float32)
    return Episode(
        id=f"{rollout.policy}/{rollout.start}/{rollout.seed}",
        frames=world.render(latents, [rollout.task] * len(latents)),
        # There is one more frame than actions; the last frame's action is never executed.
        actions=np.concatenate([rollout.actions, rollout.actions[-1:]]).astype(np.float32),
        pose=rollout.pose.astype(np.float32),
        task=rollout.task,
        success=attempt.verdict.probability >= CALLED,
        fps=world.spec.fps,
        source=rollout.policy,
    )


def provenance(attempt: Attempt, *, world_model: str, weight: float) -> dict[str, Any]:
    """Build the provenance record of an exported episode."""
    rollout, verdict = attempt.rollout, attempt.verdict
    votes = verdict.votes
    doubts = [max(votes) - min(votes)] if votes else []
    doubts += [rollout.trust[name] for name in ("mended_actions",) if name in rollout.trust]
    return {
        "origin": "imagined",
        "world_model": world_model,
        "policy": rollout.policy,
        "seed": rollout.seed,
        "start": rollout.start,
        "judge": verdict.judge,
        "probability": verdict.probability,
        "trust": 1.0 - min(1.0, max(doubts, default=0.0)),
        "weight": weight,
    }


def reached(judge: Judging, attempts: Sequence[Attempt]) -> Int[Array, " n"]:
    """The frame at which each attempt first counts as a success; else that of its verdict.

    Demonstrations also end at the first success: there is nothing to imitate after it.
    """
    parts = [attempts[first : first + BATCH] for first in range(0, len(attempts), BATCH)]
    seen = [judge.over_time([attempt.rollout for attempt in part])[:, 1:] for part in parts]
    called = np.concatenate(seen) >= CALLED
    steps = np.array([attempt.verdict.step for attempt in attempts])
    return np.where(called.any(1), called.argmax(1) + 1, steps)


def samples(
    episodes: Sequence[Episode],
    weight: Float[Array, " n"],
    *,
    tasks: tuple[str, ...],
    views: tuple[str, ...],
    chunk: int,
    reached: Int[Array, " n"],
    after_success: int,
) -> tuple[Demos, Float[Array, " m"]]:
    """Return every frame and its weight; successes end `after_success` after they were `reached`.

    A chunk that extends beyond its episode repeats the last action.
    """
    frames, pose, task, actions, weights, place = [], [], [], [], [], []
    counts: dict[str, int] = {}
    for one, step, own in zip(episodes, reached, weight, strict=True):
        moves = len(one) - 1
        length = min(moves, int(step) + after_success) if one.success else moves
        rows = np.arange(length)
        place.append(rows)
        ahead = np.minimum(rows[:, None] + np.arange(chunk), moves - 1)
        frames.append(np.stack([one.frames[view][:length] for view in views], axis=1))
        pose.append(one.pose[:length])
        task.append(np.full(length, tasks.index(one.task), np.int64))
        actions.append(one.actions[ahead])
        weights.append(np.full(length, own))
        counts[one.task] = counts.get(one.task, 0) + 1
    demos = Demos(
        frames=np.concatenate(frames),
        pose=np.concatenate(pose),
        task=np.concatenate(task),
        actions=np.concatenate(actions),
        tasks=tasks,
        views=views,
        episodes=counts,
        before=np.concatenate(place),
        after=np.concatenate([each[::-1] for each in place]),
    )
    return demos, np.concatenate(weights)
