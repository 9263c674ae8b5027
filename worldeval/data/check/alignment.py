"""Temporal alignment of images and actions: the lag between motion in the images and the actions.

Files may pair every image with the action of another row, such as copies of Bridge that are one
row late because their only array was taken for the pose. Motion in the images (the change in
brightness from frame t to t + 1, over a grid of cells) follows the size of the action at row t, and
follows it less at a wrong lag. Both are ranked within each episode, and slow changes are removed,
because they look alike at every lag.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.stats import rankdata

from worldeval.axes import Array, Float, Float32
from worldeval.data.columns import ColumnMeanings, columns_of, names
from worldeval.data.finding import DataFinding
from worldeval.data.source import Rows

LAGS = tuple(range(-3, 4))
SLOW = 9  # frames of the running mean that is subtracted
SHORTEST = 2 * SLOW  # minimum number of frames of a usable episode
FEWEST = 120  # minimum number of frames in total
RESAMPLES = 400
PIECES = 8  # minimum number of pieces of all frames, for resampling
SURE = 0.95  # share of resamples that must agree on a lag
STRONG, MARGIN = 0.15, 0.05  # correlation at the peak, and its minimum lead over lag 0


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Number of frames by which images move after their action; negative if before it."""

    lag: int
    confidence: float  # share of resamples of episodes with the peak at this lag
    correlations: tuple[float, ...]  # at `LAGS`

    @property
    def sure(self) -> bool:
        """Whether the evidence is strong enough to name a lag."""
        return self.confidence >= SURE and self.correlations[LAGS.index(self.lag)] >= STRONG


def alignment(
    motions: Sequence[Float[Array, " _"]],
    parts: Sequence[Rows],
    meaning: ColumnMeanings | None = None,
    *,
    seed: int = 0,
) -> Alignment | None:
    """Estimate the lag that the episodes agree on; None if they are too short or nothing moves.

    Args:
        motions: change in the images from each frame to the next, per episode.
        parts: actions and poses of each episode; an action may hold several steps' columns.
        meaning: meaning of one step's columns. The size of an absolute action is its distance from
            the pose if that has the same columns, and otherwise from the previous action.
    """
    meaning = meaning or ColumnMeanings()
    parts = [replace(rows, actions=_whole(rows.actions, meaning)) for rows in parts]
    tables = [
        found
        for steps in _steps(parts, meaning)
        if (found := _table(motions, _speeds(steps, meaning))) is not None
    ]
    if not tables:
        return None
    # If actions may be absolute or relative, use the interpretation that explains more.
    products = max(tables, key=lambda table: float(_correlations(table).max()))
    correlations = _correlations(products)
    best = _peak(correlations)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(products), (RESAMPLES, len(products)))
    peaks = np.array([_peak(_correlations(products[rows])) for rows in drawn])
    return Alignment(
        lag=LAGS[best],
        confidence=float(np.mean(peaks == best)),
        correlations=tuple(float(value) for value in correlations),
    )


def alignment_findings(
    motions: Sequence[Float[Array, " _"]], parts: Sequence[Rows], meaning: ColumnMeanings
) -> list[DataFinding]:
    """Report the lag and its confidence in one finding: a warning unless 0, never an error."""
    found = alignment(motions, parts, meaning)
    if found is None:
        return []
    pairs = zip(LAGS, found.correlations, strict=True)
    listed = ", ".join(f"{lag}: {value:.2f}" for lag, value in pairs)
    sure = f"confidence {found.confidence:.0%}; correlation by lag: {listed}"
    if not found.sure:
        text = f"cannot be determined from the motion in the images ({sure})."
    elif found.lag == 0:
        text = f"is correct: images move at the frame of their action ({sure})."
    else:
        side = "after" if found.lag > 0 else "before"
        count = abs(found.lag)
        rows = f"{count} frame{'s' if count > 1 else ''}"
        text = (
            f"seems wrong: images move {rows} {side} the action of their row ({sure}). Check which "
            f"array is the action, or shift the actions by {-found.lag} rows."
            if found.lag < 0
            else f"seems wrong: images move {rows} {side} the action of their row ({sure}). The "
            "robot may respond late; otherwise, the actions are stored too early."
        )
    return [
        DataFinding(
            code="action-alignment",
            severity="warning" if found.sure and found.lag else "note",
            episode=None,
            field="action",
            text=text,
        )
    ]


def _peak(correlations: Float[Array, " l"]) -> int:
    """Index of the highest correlation, or of lag 0 if that is nearly as high.

    A robot responds within a fraction of a frame, so that two neighbouring lags look alike.
    """
    best, none = int(np.argmax(correlations)), LAGS.index(0)
    return none if correlations[best] - correlations[none] < MARGIN else best


def _whole(actions: Float32[Array, "t _"], meaning: ColumnMeanings) -> Float32[Array, "t a"]:
    """Join the steps that are stacked in an action: deltas add up, the last target holds."""
    absolute = [group.motion == "absolute" for group in meaning.action for _ in group.names]
    if not absolute or actions.shape[1] in (0, len(absolute)):
        return actions
    steps = actions.reshape(len(actions), -1, len(absolute))
    return np.where(absolute, steps[:, -1], steps.sum(axis=1))


def _steps(parts: Sequence[Rows], meaning: ColumnMeanings) -> Iterator[list[Float[Array, "_ a"]]]:
    """Step size of every action, for each possible meaning of the action."""
    told = {group.motion == "absolute" for group in meaning.action if not group.guessed}
    if told != {True}:
        yield [rows.actions.astype(np.float64) for rows in parts]
    if told == {False}:
        return
    same = names(meaning.action) == names(meaning.pose) and meaning.action
    if same or (told != {True} and parts[0].actions.shape[1] == parts[0].pose.shape[1]):
        yield [_wrapped(rows.actions - rows.pose) for rows in parts]
    if not same:
        yield [_wrapped(np.diff(rows.actions, axis=0, prepend=rows.actions[:1])) for rows in parts]


def _wrapped(steps: Float32[Array, "_ a"]) -> Float[Array, "_ a"]:
    """Remove full turns from angles that pass +-pi, because no arm turns that far in a frame."""
    turn = 2 * np.pi
    whole = (np.abs(steps) > np.pi) & (np.abs(steps) <= turn)
    return np.where(whole, steps - turn * np.sign(steps), steps).astype(np.float64)


def _speeds(
    steps: Sequence[Float[Array, "_ a"]], meaning: ColumnMeanings
) -> list[Float[Array, " _"]]:
    """Size of every row's step, in standard deviations of the columns."""
    scale = np.concatenate(steps).std(axis=0)
    moving = scale > 1e-9
    grip = columns_of(meaning.action, "gripper", "object")  # fingers move few pixels
    moving[grip[grip < len(moving)]] = False
    if not moving.any():
        return [np.zeros(len(step)) for step in steps]
    return [np.linalg.norm(step[:, moving] / scale[moving], axis=1) for step in steps]


def _table(
    motions: Sequence[Float[Array, " _"]], speeds: Sequence[Float[Array, " _"]]
) -> Float[Array, "n 3 l"] | None:
    """Compute the sums of m*s, m*m and s*s for every piece of an episode and every lag."""
    parts = []
    usable = [
        (motion, speed[: len(motion)])
        for motion, speed in zip(motions, speeds, strict=True)
        if len(motion) >= SHORTEST and np.ptp(motion) > 0 and np.ptp(speed) > 0
    ]
    frames = sum(len(motion) for motion, _ in usable)
    if frames < FEWEST:
        return None
    size = max(SHORTEST, frames // max(PIECES, len(usable)))
    reach = max(LAGS)
    for motion, speed in usable:
        moved, acted = _quick(motion), _quick(speed)
        inside = np.arange(reach, len(moved) - reach)
        count = max(1, len(inside) // size)
        for piece in np.array_split(inside, count):
            if not len(piece):
                continue
            pairs = [(moved[piece], acted[piece - lag]) for lag in LAGS]
            parts.append([[(m * a).sum() for m, a in pairs], [(m * m).sum() for m, _ in pairs],
                          [(a * a).sum() for _, a in pairs]])  # fmt: skip
    return np.array(parts, np.float64) if parts else None


def _quick(values: Float[Array, " t"]) -> Float[Array, " t"]:
    """Compute ranks from -1/2 to 1/2 without slow changes."""
    ranks = rankdata(values) / len(values) - 0.5
    return ranks - uniform_filter1d(ranks, SLOW, mode="nearest")


def _correlations(products: Float[Array, "n 3 l"]) -> Float[Array, " l"]:
    both, moved, acted = products.sum(axis=0)
    return both / np.sqrt(np.maximum(moved * acted, 1e-12))
