"""Two inexpensive gates: whether recorded failures stay failures, and whether actions matter."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from worldeval.axes import Array, Float, Float32
from worldeval.data.space_text import read_space
from worldeval.record import Rollout, Verdict
from worldeval.rollout.loop import replay_actions
from worldeval.rollout.starts import Recording
from worldeval.stats import Estimate, confusion, informativeness
from worldeval.stats.combined import SUCCESS
from worldeval.world.protocol import WorldModel, WorldSpec

Judging = Callable[[Sequence[Rollout]], list[Verdict]]

REVISION = 1  # raised when the same recordings give other numbers
BATCH = 100  # recordings that are replayed together
ACTION_EFFECT = 0.3  # smallest drop in success when actions are zeroed or shuffled


@dataclass(frozen=True, kw_only=True)
class Gates:
    """The results of replaying recorded episodes in imagination."""

    false_success: Estimate  # mean predicted success of recorded failures
    near_miss_false_success: Estimate  # of those that aimed centimetres off
    true_success: Estimate  # of recorded successes, for reference
    action_effect: Estimate  # drop in success when actions are zeroed or shuffled
    informativeness: Estimate  # sensitivity + specificity - 1 of the verdicts, cut at one half


def run_gates(
    world: WorldModel,
    judge: Judging,
    recordings: Sequence[Recording],
    *,
    rng: np.random.Generator,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Gates:
    """Replay recordings unchanged, with zeroed actions and with shuffled actions.

    `progress` is called with the number of replayed episodes and their total.
    """
    length = max(len(recording.actions) for recording in recordings)
    rest = [resting(world.spec, recording) for recording in recordings]
    # Shorter recordings are padded with actions that keep the robot still.
    actions = np.stack(
        [
            np.concatenate([r.actions, np.repeat(still[-1:], length - len(r.actions), 0)])
            for r, still in zip(recordings, rest, strict=True)
        ]
    )
    failed = np.array([not recording.success for recording in recordings])
    near = failed & np.array([recording.near_miss for recording in recordings])
    succeeded = np.flatnonzero(~failed)
    replay = _Replay(world, judge, len(recordings) + 2 * len(succeeded), progress)
    probability = replay.judged(recordings, actions)
    chosen = [recording for recording in recordings if recording.success]
    spoilt = probability[succeeded]  # empty if every recording failed
    if len(succeeded):
        still = np.stack([np.repeat(rest[int(index)][:1], length, 0) for index in succeeded])
        zeroed = replay.judged(chosen, still)
        shuffled = np.stack([rng.permutation(episode) for episode in actions[succeeded]])
        spoilt = np.maximum(zeroed, replay.judged(chosen, shuffled))
    given = np.isfinite(probability)  # a judge of frames may abstain
    said = confusion((probability[given] > SUCCESS).tolist(), (~failed[given]).tolist())
    return Gates(
        false_success=mean(probability[failed]),
        near_miss_false_success=mean(probability[near]),
        true_success=mean(probability[~failed]),
        action_effect=mean(probability[succeeded] - spoilt),
        informativeness=informativeness(said),
    )


def resting(spec: WorldSpec, recording: Recording) -> Float32[Array, "2 a"]:
    """Return the actions that keep the robot still at the recording's first and last frame.

    Where an action says how far to move that is zero; where it says where to be, the place where
    the robot is (or, where the pose does not tell, the recorded action of that frame).
    """
    body, recorded = spec.body, recording.actions
    ends = np.stack([recorded[0], recorded[-1]])
    if body is None or not body.motion:
        # The meaning of the action is unknown. Relative actions, for which zero means no motion,
        # are more common. For absolute ones this is wrong; a map's `motion:` declares them.
        held = np.zeros(ends.shape[1], bool)
        if spec.space:
            targets = read_space(spec.space).targets
            held = np.resize(targets, ends.shape[1])  # of every controller step
        return np.where(held, ends, np.zeros_like(ends))
    out = np.zeros_like(ends).reshape(2, body.steps, -1)
    told = ends.reshape(2, body.steps, -1)
    for column, motion in enumerate(body.motion):
        if motion == "absolute":
            out[:, :, column] = told[:, :, column]
    for command in body.commands:
        if command.motion == "absolute":
            here = recording.pose[[0, -1], command.pose] / command.factor
            out[:, :, command.action] = here[:, None]
    return out.reshape(2, -1)


def mean(values: Float[Array, " n"], *, level: float = 0.95) -> Estimate:
    """Return the mean of independent probabilities (or their drops) with a t interval.

    What is unknown (NaN: the judge abstained) is left out.
    """
    values = values[np.isfinite(values)]
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


class _Replay:
    """Replays recordings in batches and says how many are done."""

    def __init__(
        self,
        world: WorldModel,
        judge: Judging,
        total: int,
        progress: Callable[[int, int], None],
    ) -> None:
        self._world, self._judge = world, judge
        self._done, self._total, self._progress = 0, total, progress
        progress(0, total)

    def judged(
        self, recordings: Sequence[Recording], actions: Float[Array, "e t a"]
    ) -> Float[Array, " e"]:
        """Return the judged probability of success of each recording with these actions."""
        out = []
        for begin in range(0, len(recordings), BATCH):
            starts = [recording.start for recording in recordings[begin : begin + BATCH]]
            seeds = [start.seed for start in starts]
            own = actions[begin : begin + BATCH]
            rollouts = replay_actions(self._world, starts, own, seeds=seeds)
            out += [verdict.probability for verdict in self._judge(rollouts)]
            self._done += len(starts)
            self._progress(self._done, self._total)
        return np.array(out)
