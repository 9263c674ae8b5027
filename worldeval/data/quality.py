"""Two numbers of recordings that say which kind of learning they suit: TQ and SACo.

Schweighofer et al., "A Dataset Perspective on Offline Reinforcement Learning" (arXiv 2111.04714):
trajectory quality TQ is the mean return of the trajectories, 0 at a random policy's and 1 at an
expert's (eq. 6), and state-action coverage SACo is the number of different state-action pairs
relative to that of a reference dataset (eq. 7).

What differs:
- A return is `discount` to the power of the frame of the first success, 0 for a failure. Without an
  expert among the drivers, an expert is one that always succeeds, as fast as the successes here;
  without a random one, random play never succeeds.
- States are proprioception. Numbers are real, so pairs are counted in cells: standardised pose and
  action on their first principal components, in bins of equal width. Pictures are not counted, so
  objects in other places do not add to the coverage.
- Without a reference dataset, the count is relative to the frames: 1 if none is like another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from worldeval.axes import Array, Float, Int
from worldeval.data.table import SUCCEEDED, RecordedEpisodes
from worldeval.errors import UserError

COMPONENTS = 3  # of the pose, and of the action
BINS = 6  # of a component, over four standard deviations
SPAN = 2.0  # standard deviations to either side; what lies beyond is in the outermost bins
HIGH_QUALITY, HIGH_COVERAGE = 0.6, 0.5  # from which the numbers count as high (ours)
FEW = 10  # episodes of a task, below which nothing is suggested


@dataclass(frozen=True, kw_only=True)
class DataQuality:
    """The numbers of one task, or of all of them (the mean over tasks)."""

    task: str
    episodes: int
    labelled: int  # episodes with a known outcome
    success: float | None  # their share of successes
    mean_return: float | None
    expert_return: float | None
    random_return: float | None
    quality: float | None  # TQ
    pairs: int  # different cells of state and action
    reference_pairs: int
    coverage: float  # SACo


@dataclass(frozen=True, kw_only=True)
class QualityReport:
    """Quality and coverage by task and by driver, and what they suggest."""

    whole: DataQuality
    tasks: tuple[DataQuality, ...]
    drivers: dict[str, float | None]  # source -> TQ of its episodes, mean over tasks
    reference: str  # what the coverage is relative to
    suggestions: tuple[str, ...]


def report_quality(
    recorded: RecordedEpisodes,
    reference: RecordedEpisodes | None = None,
    *,
    expert: str | None = None,
    random: str | None = None,
    discount: float = 0.99,
) -> QualityReport:
    """Measure trajectory quality and state-action coverage of recordings.

    Args:
        reference: recordings that explore, such as roll-outs of many policies; the coverage is
            relative to theirs.
        expert, random: globs on the source (driver) of an episode, whose mean returns are 1 and 0.
        discount: of a frame.

    Raises:
        UserError: a glob fits no labelled episode, the discount is out of range, or the reference
            has other numbers or lacks a task.
    """
    if not 0 < discount <= 1:
        raise UserError(f"--discount is {discount}; it must be above 0 and at most 1.")
    table, returns = recorded.episodes, returns_of(recorded, discount)
    known = ~np.isnan(returns)
    source = table["source"].to_numpy(str)
    ends = {
        name: _fitting(source, known, glob, name)
        for name, glob in (("expert", expert), ("random", random))
    }
    own, other = _cells(recorded, reference)
    of_row, of_other = recorded.task_of_row, None if reference is None else reference.task_of_row
    tasks, by_driver = [], {name: [] for name in sorted(set(source))}
    for index, task in enumerate(recorded.tasks):
        here = table["task"].to_numpy(str) == task
        got = returns[here & known]
        low = _mean(returns[here & ends["random"]]) if random else 0.0
        won = got[got > 0]
        high = _mean(returns[here & ends["expert"]]) if expert else _mean(won)
        pairs = len(np.unique(own[of_row == index], axis=0))
        if reference is None or other is None or of_other is None:
            most = int((of_row == index).sum())
        else:
            if task not in reference.tasks:
                raise UserError(
                    f"The reference {reference.where} has no episode of '{task}' (it has: "
                    f"{', '.join(reference.tasks)}). Give recordings of the same tasks."
                )
            rows = of_other == reference.tasks.index(task)
            most = len(np.unique(other[rows], axis=0))
        tasks.append(
            DataQuality(
                task=task,
                episodes=int(here.sum()),
                labelled=len(got),
                success=_mean(table["success"].to_numpy()[here & known] == SUCCEEDED),
                mean_return=_mean(got),
                expert_return=high,
                random_return=low,
                quality=normalised(_mean(got), low, high),
                pairs=pairs,
                reference_pairs=most,
                coverage=pairs / max(most, 1),
            )
        )
        for name, found in by_driver.items():
            drove = returns[here & known & (source == name)]
            if len(drove):
                found.append(normalised(_mean(drove), low, high))
    return QualityReport(
        whole=_over(tasks),
        tasks=tuple(tasks),
        drivers={
            name: _mean([each for each in found if each is not None])
            for name, found in by_driver.items()
        },
        reference="the frames of the data" if reference is None else reference.where,
        suggestions=suggestions(_over(tasks), relative=reference is not None),
    )


def returns_of(recorded: RecordedEpisodes, discount: float) -> Float[Array, " e"]:
    """Return of every episode; NaN where its outcome is not known."""
    out = np.full(len(recorded), np.nan)
    for episode in np.flatnonzero(recorded.labelled):
        flags = recorded.flags[recorded.rows(int(episode))]
        won = recorded.episodes["success"].iloc[episode] == SUCCEEDED
        first = np.flatnonzero(flags)[:1]
        when = int(first[0]) if len(first) else len(flags) - 1
        out[episode] = discount**when if won else 0.0
    return out


def normalised(mean: float | None, low: float | None, high: float | None) -> float | None:
    """TQ: where a mean return lies between a random policy's and an expert's (eq. 6)."""
    if mean is None or low is None or high is None or high - low < 1e-9:
        return None
    return (mean - low) / (high - low)


def suggestions(whole: DataQuality, *, relative: bool) -> tuple[str, ...]:
    """What the numbers suggest about how to learn from the data, by the paper's findings."""
    if whole.quality is None or whole.labelled < FEW:
        return (
            f"{whole.labelled} episodes have a known outcome, and quality needs successes and at "
            f"least {FEW} outcomes: label them (worldeval data label, or success: in a map).",
        )
    good, wide = whole.quality >= HIGH_QUALITY, whole.coverage >= HIGH_COVERAGE
    if good and not wide:
        said = (
            "High quality, low coverage: imitation does best (worldeval policy train, then improve "
            "sft). A critic cannot judge actions that nobody tried."
        )
    elif good:
        said = (
            "High quality and coverage: imitation is hard to beat; critics that stay near the data "
            "and fine-tuning in imagination (improve sft, improve rl) may add to it."
        )
    elif wide:
        said = (
            "Low quality, high coverage: imitate the successes only (demos: success: true), and "
            "improve off-policy, by critics or in imagination (improve rl, improve search)."
        )
    else:
        said = (
            "Low quality and coverage: no method is favoured. Record demonstrations, or roll-outs "
            "of several policies."
        )
    more = []
    if whole.success is not None and whole.success > 0.95:
        more.append(
            "Hardly any episode fails: a world model and a judge that saw no failure predict "
            "success everywhere. Add roll-outs of weak policies."
        )
    if not relative:
        more.append(
            "Coverage is relative to the number of frames, which favours small datasets; give "
            "--reference to compare with recordings that explore."
        )
    return (said, *more)


def _cells(
    recorded: RecordedEpisodes, reference: RecordedEpisodes | None
) -> tuple[Int[Array, "n k"], Int[Array, "m k"] | None]:
    """The cell of state and action of every frame, on the axes of the reference if there is one."""
    every = [recorded] if reference is None else [recorded, reference]
    for name, width in (("poses", recorded.pose), ("actions", recorded.actions)):
        other = every[-1].pose if name == "poses" else every[-1].actions
        if other.shape[1] != width.shape[1]:
            raise UserError(
                f"The reference {every[-1].where} has {name} of {other.shape[1]} numbers, but "
                f"{recorded.where} has {width.shape[1]}. Give recordings of the same robot."
            )
    poses, actions = binned([each.pose for each in every]), binned([each.actions for each in every])
    cells = [np.concatenate(pair, axis=1) for pair in zip(poses, actions, strict=True)]
    return cells[0], cells[1] if reference is not None else None


def binned(parts: Sequence[Float[Array, "_n d"]]) -> list[Int[Array, "_n k"]]:
    """Bins of the first principal components, on the axes of the last part."""
    last = parts[-1].astype(np.float64)
    mean, scale = last.mean(0), np.where(last.std(0) > 1e-9, last.std(0), 1.0)
    unit = (last - mean) / scale
    _, _, axes = np.linalg.svd(unit.T @ unit)
    axes = axes[: min(COMPONENTS, len(axes))]
    spread = np.maximum((unit @ axes.T).std(0), 1e-9)
    found = []
    for part in parts:
        place = (part - mean) / scale @ axes.T / spread / SPAN  # -1 to 1 within the span
        found.append(np.clip(np.floor((place + 1) / 2 * BINS), 0, BINS - 1).astype(int))
    return found


def _fitting(source: Array, known: Array, glob: str | None, name: str) -> Array:
    if glob is None:
        return np.zeros(len(source), bool)
    found = known & np.array([fnmatchcase(one, glob) for one in source], bool)
    if not found.any():
        raise UserError(
            f"--{name} {glob} fits no episode with a known outcome (sources: "
            f"{', '.join(sorted(set(source)))})."
        )
    return found


def _over(tasks: Sequence[DataQuality]) -> DataQuality:
    """The mean over tasks; counts are sums."""

    def mean(name: str) -> float | None:
        return _mean([getattr(one, name) for one in tasks if getattr(one, name) is not None])

    return DataQuality(
        task="all",
        episodes=sum(one.episodes for one in tasks),
        labelled=sum(one.labelled for one in tasks),
        success=mean("success"),
        mean_return=mean("mean_return"),
        expert_return=mean("expert_return"),
        random_return=mean("random_return"),
        quality=mean("quality"),
        pairs=sum(one.pairs for one in tasks),
        reference_pairs=sum(one.reference_pairs for one in tasks),
        coverage=mean("coverage") or 0.0,
    )


def _mean(values: Sequence[float] | Array) -> float | None:
    return float(np.mean(values)) if len(values) else None
