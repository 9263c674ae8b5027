"""Cheaper scores that could rank the same policies, and how imagination compares with them."""

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
    """Measure how well any score per policy (larger is better) agrees with the measured rates.

    For a validation error, pass its negative. The score needs no unit, because MMRV depends only
    on its order, and Pearson is unchanged by a linear map.

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
    """Estimate the agreement of imagination minus that of a baseline, on the same policies.

    The comparison is paired: both are compared with the same outcomes, so the difference can be
    certain even if the two intervals overlap. With 8 or more lineages, lineages are resampled
    (policies of other training runs); with fewer, starts are resampled for these policies. For
    MMRV, lower is better.

    Args:
        values: score of the baseline per policy; larger is better.

    Raises:
        UserError: a policy has no value, or is missing on one side.
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
        raise UserError(
            f"The baseline has no value for policy '{missing[0]}'. Provide one for every policy."
        )
    return np.array([float(values[name]) for name in policies])
