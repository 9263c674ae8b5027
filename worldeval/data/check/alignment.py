"""Do the pictures move when the actions say so? The lag between motion in pictures and actions.

Files may pair every picture with the action of another row: one row late in copies of Bridge whose
lone array was taken for the pose. Motion in the pictures (how much brightness changes from frame t
to t + 1, over a grid of cells) follows the size of the action at row t; at the wrong lag it follows
it less. Both are ranked within each episode and freed of what changes slowly, since that looks
alike at every lag.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.stats import rankdata

from worldeval.axes import Array, Float, Float32
from worldeval.data.columns import ColumnMeanings, columns_of, names
from worldeval.data.finding import DataFinding
from worldeval.data.source import Rows

LAGS = tuple(range(-3, 4))
SLOW = 9  # frames over which a running mean is taken off
SHORTEST = 2 * SLOW  # frames of an episode that say anything
FEWEST = 120  # frames in all
RESAMPLES = 400
PIECES = 8  # of all frames, at least, to draw again from
SURE = 0.95  # share of resamples that must agree before a lag is called one
STRONG, MARGIN = 0.15, 0.05  # correlation at the peak, and its least lead over that at no lag


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """By how many frames pictures move after their action; below 0, before it."""

    lag: int
    confidence: float  # share of resamples of the episodes with the peak at the same lag
    correlations: tuple[float, ...]  # at `LAGS`

    @property
    def sure(self) -> bool:
        """Whether the evidence is more than a hint."""
        return self.confidence >= SURE and self.correlations[LAGS.index(self.lag)] >= STRONG


def alignment(
    motions: Sequence[Float[Array, " _"]],
    parts: Sequence[Rows],
    meaning: ColumnMeanings | None = None,
    *,
    seed: int = 0,
) -> Alignment | None:
    """The lag that the episodes agree on; None where they are too short or nothing moves.

    Args:
        motions: of each episode, how much the pictures change from each frame to the next.
        parts: of each episode, its actions and poses.
        meaning: of the columns. The size of an absolute action is how far it is from the pose,
            where that has the same columns, else from the action before it.
    """
    meaning = meaning or ColumnMeanings()
    tables = [
        found
        for steps in _steps(parts, meaning)
        if (found := _table(motions, _speeds(steps, meaning))) is not None
    ]
    if not tables:
        return None
    # Where nobody knows whether actions are places or steps, the reading that explains more counts.
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
    """One finding: the lag and how sure it is; a warning where it is not 0, never an error."""
    found = alignment(motions, parts, meaning)
    if found is None:
        return []
    pairs = zip(LAGS, found.correlations, strict=True)
    listed = ", ".join(f"{lag}: {value:.2f}" for lag, value in pairs)
    sure = f"confidence {found.confidence:.0%}; correlation by lag: {listed}"
    if not found.sure:
        text = f"cannot be told from the motion in the pictures ({sure})."
    elif found.lag == 0:
        text = f"is right: pictures move when their action says so ({sure})."
    else:
        side = "after" if found.lag > 0 else "before"
        count = abs(found.lag)
        rows = f"{count} frame{'s' if count > 1 else ''}"
        text = (
            f"seems off: pictures move {rows} {side} the action of their row ({sure}). See which "
            f"array is the action, or shift the actions by {-found.lag} rows."
            if found.lag < 0
            else f"seems off: pictures move {rows} {side} the action of their row ({sure}). The "
            "robot may answer late; if not, the actions are stored too early."
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
    """The place of the highest one, or of lag 0 where that is nearly as high.

    A robot answers within a fraction of a frame, which leaves two neighbours alike.
    """
    best, none = int(np.argmax(correlations)), LAGS.index(0)
    return none if correlations[best] - correlations[none] < MARGIN else best


def _steps(parts: Sequence[Rows], meaning: ColumnMeanings) -> Iterator[list[Float[Array, "_ a"]]]:
    """How far every action leads, in every way that it may be meant."""
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
    """Without the whole turns of angles that pass +-pi: no arm turns that far in a frame."""
    turn = 2 * np.pi
    whole = (np.abs(steps) > np.pi) & (np.abs(steps) <= turn)
    return np.where(whole, steps - turn * np.sign(steps), steps).astype(np.float64)


def _speeds(
    steps: Sequence[Float[Array, "_ a"]], meaning: ColumnMeanings
) -> list[Float[Array, " _"]]:
    """The size of every row's step, in standard deviations of its columns."""
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
    """Of every piece of an episode and every lag: sums of m*s, m*m and s*s."""
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
    """Ranks from -1/2 to 1/2, without what changes slowly."""
    ranks = rankdata(values) / len(values) - 0.5
    return ranks - uniform_filter1d(ranks, SLOW, mode="nearest")


def _correlations(products: Float[Array, "n 3 l"]) -> Float[Array, " l"]:
    both, moved, acted = products.sum(axis=0)
    return both / np.sqrt(np.maximum(moved * acted, 1e-12))
