"""Duplicate episodes in a dataset: with the same numbers, or with nearly the same motion.

Copies are seldom exact: numbers are rounded, idle frames removed, frames skipped, ends cut off. The
path remains: moments spread evenly along the copy's path all lie on the original's path, in the
same order, and the cameras show the same scene there. Of nine DROID episodes, no two share a single
such moment, even at ten times the tolerance. Noiseless scripted experts may share them, and are
then equivalent to copies for a split by episode.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from worldeval.axes import Array, Float, Int
from worldeval.data.check.pictures import brightness
from worldeval.data.finding import DataError, DataFinding
from worldeval.data.source import Head, Rows, Source

MOMENTS = 24  # moments of an episode's path that are searched for in the others
FEWEST = 8  # minimum number of distinct moments of a usable path
NEAR = 0.002  # tolerance for a copy's pose, as a share of a dimension's 1%-99% range
SHARE = 0.9  # share of moments that must be found, and be in the right order
NEIGHBOURS = 32  # nearest frames examined per moment
ALIKE = 6.0  # tolerance for the brightness of a copy's images, of 255
LOOKS = 5  # images compared per pair


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An episode whose path lies on another's, with the frames that show the same moments."""

    copy: int
    original: int
    frames: Int[Array, "m 2"]  # of the copy, of the original


def duplicates(
    source: Source, indices: Sequence[int], parts: Sequence[Rows], *, pictures: bool
) -> Iterator[DataFinding]:
    """Find exact and near duplicates among the episodes at `indices`, whose rows are `parts`."""
    heads = [source.heads[index] for index in indices]
    exact = dict(_exact(parts))
    for place, first in exact.items():
        yield DataFinding(
            code="duplicate-episode",
            severity="error",
            episode=heads[place].id,
            field="rows",
            text=f"has the same actions and poses as episode {heads[first].id}. Remove one of "
            "them; otherwise it may end up on both sides of a split.",
        )
    for pair in near_pairs([rows.pose for rows in parts]):
        one, other = sorted((pair.copy, pair.original))
        if exact.get(other, other) == exact.get(one, one):
            continue  # already reported above
        if pictures and not _look_alike(source, indices, pair):
            continue
        seen = "its images and poses" if pictures else "its poses"
        yield DataFinding(
            code="near-duplicate",
            severity="warning",
            episode=heads[other].id,
            field="pose",
            text=f"{seen} are nearly the same as those of episode {heads[one].id} "
            f"({_spans(pair, heads)}). Remove one of them, or keep both on one side of a split.",
        )


def near_pairs(poses: Sequence[Float[Array, "_ p"]]) -> list[Pair]:
    """Find all pairs of episodes in which one path lies on the other; each pair occurs once."""
    every = np.concatenate(poses).astype(np.float64)
    low, high = np.percentile(every, [1, 99], axis=0)
    varies = high - low > 1e-9
    if not varies.any():
        return []
    scaled = [pose[:, varies] / (high - low)[varies] for pose in poses]
    begins = np.cumsum([0, *(len(pose) for pose in scaled)])
    tree = KDTree(np.concatenate(scaled))
    found: dict[tuple[int, int], Pair] = {}
    for copy, path in enumerate(scaled):
        moments = _moments(path)
        if len(moments) < FEWEST:
            continue
        # The unlike of a frame is a path away, so that rounding within NEAR cannot hide a copy.
        _, hits = tree.query(path[moments], NEIGHBOURS, p=np.inf, distance_upper_bound=NEAR)
        for original, met in _met(np.asarray(hits), moments, begins).items():
            key = (min(copy, original), max(copy, original))
            if original != copy and key not in found and _follow(met, len(moments)):
                found[key] = Pair(copy=copy, original=original, frames=met)
    return [found[key] for key in sorted(found)]


def _moments(path: Float[Array, "t p"]) -> Int[Array, " m"]:
    """Choose frames spread evenly over the distance travelled, so that pauses do not count."""
    travelled = np.concatenate([[0], np.abs(np.diff(path, axis=0)).sum(axis=1).cumsum()])
    if travelled[-1] == 0:
        return np.empty(0, np.int64)
    wanted = np.linspace(0, travelled[-1], MOMENTS + 2)[1:-1]
    return np.unique(np.searchsorted(travelled, wanted))


def _met(
    hits: Int[Array, "m k"], moments: Int[Array, " m"], begins: Int[Array, " bounds"]
) -> dict[int, Int[Array, "n 2"]]:
    """Map each other episode to the moments found in it, as (moment, nearest frame there)."""
    met: dict[int, dict[int, int]] = defaultdict(dict)
    for moment, near in zip(moments.tolist(), hits, strict=True):
        near = near[near < begins[-1]]  # beyond it: fewer neighbours than asked for
        owners = np.searchsorted(begins, near, side="right") - 1
        for owner, frame in zip(owners.tolist(), near.tolist(), strict=True):
            met[owner].setdefault(moment, frame - int(begins[owner]))
    return {owner: np.array(list(pairs.items())) for owner, pairs in met.items()}


def _follow(met: Int[Array, "n 2"], moments: int) -> bool:
    """Whether enough moments were found, in the order of the copy."""
    forward = np.diff(met[:, 1]) > 0
    return len(met) >= SHARE * moments and float(forward.mean()) >= SHARE


def _look_alike(source: Source, indices: Sequence[int], pair: Pair) -> bool:
    """Whether all cameras show the same scene at the same moments."""
    some = np.unique(np.linspace(0, len(pair.frames) - 1, LOOKS).round().astype(int))
    for view in source.spec.views:
        try:
            one = brightness(source.frames(indices[pair.copy], view, pair.frames[some, 0]))
            other = brightness(source.frames(indices[pair.original], view, pair.frames[some, 1]))
        except DataError:  # reported by another check; rely on the poses
            continue
        if np.median(np.abs(one - other).mean(axis=1)) > ALIKE:
            return False
    return True


def _exact(parts: Sequence[Rows]) -> Iterator[tuple[int, int]]:
    """Iterate over (episode, first episode with the same numbers)."""
    seen: dict[bytes, int] = {}
    for place, rows in enumerate(parts):
        first = seen.setdefault(rows.actions.tobytes() + rows.pose.tobytes(), place)
        if first != place:
            yield place, first


def _spans(pair: Pair, heads: Sequence[Head]) -> str:
    """Describe the range of matching frames in both episodes."""
    (a, b), (c, d) = pair.frames[0], pair.frames[-1]
    return f"frames {a} to {c} of {heads[pair.copy].id}, {b} to {d} of {heads[pair.original].id}"
