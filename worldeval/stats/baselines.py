"""Cheaper numbers that could rank the same policies, and by how much imagination beats them."""

from collections.abc import Mapping

import numpy as np

from worldeval.axes import Array, Float
from worldeval.errors import UserError
from worldeval.stats import measures
from worldeval.stats.estimate import Estimate
from worldeval.stats.lineages import MANY, WEIGHTED, central, lineage_of, resampled
from worldeval.stats.outcomes import Outcomes
from worldeval.stats.resample import DRAWS, draw_cells
from worldeval.stats.units import aligned, units

PLAIN = {
    "pearson": measures.pearson,
    "spearman": measures.spearman,
    "mmrv": lambda s, r: measures.mmrv(predicted=s, real=r),
}


def baseline(values: Mapping[str, float], real: Outcomes) -> dict[str, float | None]:
    """Agreement of any number per policy (larger means better) with the real rates.

    For validation error pass its negative; the number needs no unit, since MMRV reads its order
    only and Pearson its line.

    Raises:
        UserError: a policy has no value.
    """
    r = units(real)
    s = _numbers(values, r.policies)
    found = {name: float(measure(s, r.rates)) for name, measure in PLAIN.items()}
    return {name: None if np.isnan(x) else x for name, x in found.items()}


def baseline_difference(
    values: Mapping[str, float],
    predicted: Outcomes,
    real: Outcomes,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int = DRAWS,
) -> dict[str, Estimate]:
    """Agreement of imagination minus that of a baseline, on the same policies: paired.

    Both agree with the same truth, so that their two intervals may overlap where the difference is
    certain. From 8 lineages on, lineages are resampled: policies of other training runs. Of fewer,
    starts: these policies, other starts. Of MMRV, less is better.

    Args:
        values: of the baseline, larger means better.

    Raises:
        UserError: a policy has no value, or is on one side only.
    """
    s, r = aligned(predicted, real)
    shown = _numbers(values, r.policies)
    group = lineage_of(r.policies, {**predicted.lineage, **real.lineage})
    lineages = int(group.max()) + 1
    many = lineages >= MANY
    weight = resampled(group, rng=rng, draws=draws) if many else None
    cells = None if many else draw_cells([s, r], rng=rng, draws=draws)
    out = {}
    for name, plain in PLAIN.items():
        value = float(plain(s.rates, r.rates) - plain(shown, r.rates))
        low = high = None
        method = "undefined"
        if not np.isnan(value) and weight is not None:
            measure = WEIGHTED[name]
            drawn = measure(s.rates, r.rates, weight) - measure(shown, r.rates, weight)
            low, high = central(drawn, value, level=level)
            method = f"resampled over {lineages} lineages"
        elif not np.isnan(value) and cells is not None:
            first, second = (side.mean(axis=2) for side in cells)
            drawn = plain(first, second) - plain(np.broadcast_to(shown, second.shape), second)
            low, high = central(drawn, value, level=level)
            # The draws add the noise of the trials once more; see `resample.interval`.
            low, high = min(low, 2 * value - high), max(high, 2 * value - low)
            method = f"resampled starts, these policies ({lineages} lineages are few)"
        out[name] = Estimate(
            value=value,
            low=low,
            high=high,
            level=level,
            n=len(r.policies),
            clusters=lineages,
            method=method,
        )
    return out


def _numbers(values: Mapping[str, float], policies: tuple[str, ...]) -> Float[Array, " k"]:
    missing = [name for name in policies if name not in values]
    if missing:
        raise UserError(f"The baseline has no value for policy '{missing[0]}'. Give one for each.")
    return np.array([float(values[name]) for name in policies])
