"""Two gates that cost little: do recorded failures stay failures, and do actions matter?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from worldeval.axes import Array, Float
from worldeval.record import Rollout, Verdict
from worldeval.rollout.loop import replay_actions
from worldeval.rollout.starts import Recording
from worldeval.stats import Estimate, confusion, informativeness
from worldeval.stats.combined import SUCCESS
from worldeval.world.protocol import WorldModel

Judging = Callable[[Sequence[Rollout]], list[Verdict]]

ACTION_EFFECT = 0.3  # least fall of the predicted success when actions are zeroed or shuffled


@dataclass(frozen=True, kw_only=True)
class Gates:
    """What replaying recorded episodes in imagination shows."""

    false_success: Estimate  # mean predicted success of recorded failures
    near_miss_false_success: Estimate  # of those that aimed centimetres off
    true_success: Estimate  # of recorded successes, for scale
    action_effect: Estimate  # fall of predicted success when the actions are spoilt
    informativeness: Estimate  # sensitivity + specificity - 1 of the verdicts, cut at one half


def run_gates(
    world: WorldModel, judge: Judging, recordings: Sequence[Recording], *, rng: np.random.Generator
) -> Gates:
    """Replay recordings as they were, with zeroed and with shuffled actions."""
    length = min(len(recording.actions) for recording in recordings)
    actions = np.stack([recording.actions[:length] for recording in recordings])
    failed = np.array([not recording.success for recording in recordings])
    near = failed & np.array([recording.near_miss for recording in recordings])
    probability = _judged(world, judge, recordings, actions)
    succeeded = np.flatnonzero(~failed)
    chosen = [recording for recording in recordings if recording.success]
    zeroed = _judged(world, judge, chosen, np.zeros_like(actions[succeeded]))
    shuffled = np.stack([rng.permutation(episode) for episode in actions[succeeded]])
    spoilt = np.maximum(zeroed, _judged(world, judge, chosen, shuffled))
    said = confusion((probability > SUCCESS).tolist(), (~failed).tolist())
    return Gates(
        false_success=mean(probability[failed]),
        near_miss_false_success=mean(probability[near]),
        true_success=mean(probability[~failed]),
        action_effect=mean(probability[succeeded] - spoilt),
        informativeness=informativeness(said),
    )


def mean(values: Float[Array, " n"], *, level: float = 0.95) -> Estimate:
    """The mean of independent episodes' probabilities (or their falls) with a t interval."""
    n = len(values)
    if n < 2:
        value = float(values[0]) if n else None
        return Estimate(
            value=value, low=None, high=None, level=level, n=n, clusters=n, method="too few"
        )
    centre = float(values.mean())
    half = float(t.ppf((1 + level) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return Estimate(
        value=centre,
        low=max(centre - half, -1.0 if values.min() < 0 else 0.0),
        high=min(centre + half, 1.0),
        level=level,
        n=n,
        clusters=n,
        method="Student t over episodes",
    )


def _judged(
    world: WorldModel,
    judge: Judging,
    recordings: Sequence[Recording],
    actions: Float[Array, "e t a"],
    *,
    batch: int = 100,
) -> Float[Array, " e"]:
    out = []
    for begin in range(0, len(recordings), batch):
        starts = [recording.start for recording in recordings[begin : begin + batch]]
        seeds = [start.seed for start in starts]
        rollouts = replay_actions(world, starts, actions[begin : begin + batch], seeds=seeds)
        out += [verdict.probability for verdict in judge(rollouts)]
    return np.array(out)
