"""Shrinkage of a policy's real rate, from few real trials, towards its imagined rate.

Imagination adds information between policies rather than between starts: it separates good from
bad policies, but hardly easy from hard starts. The real trials therefore update the prediction of
the imagined rate. Given (phi, a, b) of `predictive.py`, the prior is Beta(mu phi, (1 - mu) phi),
and k successes in n trials turn it into Beta(mu phi + k, (1 - mu) phi + n - k). The values on the
grid are reweighted by how well they predict k.

With many real trials, the real rate alone is closer to the true one, because phi is the same for
all policies while imagination errs more for some.
"""

from collections.abc import Mapping

import numpy as np
import scipy

from worldeval.axes import Array, Float
from worldeval.stats.estimate import Estimate
from worldeval.stats.outcomes import Outcomes
from worldeval.stats.predictive import LEAST, RateWorth, ValidatedRate, ValidatedRates
from worldeval.stats.units import Units, aligned

POINTS = 1000  # points of the posterior of (phi, a, b), at equal steps of its weight
METHOD = "imagined rate, updated by real trials (beta-binomial)"


def shrunk_rate(
    worth: RateWorth, imagined: float, successes: float, trials: int, *, level: float = 0.95
) -> Estimate:
    """Estimate the true rate from an imagined rate and real trials: mean and central interval.

    Args:
        imagined: imagined rate.
        successes: real successes; may be fractional if starts were run several times.
    """
    shown = scipy.special.logit(np.clip(imagined, LEAST, 1 - LEAST))
    mean = scipy.special.expit(worth.a + worth.b * shown)
    first, second = mean * worth.phi, (1 - mean) * worth.phi
    won, lost = first + successes, second + trials - successes
    log = np.log(worth.weight) + scipy.special.betaln(won, lost)
    log -= scipy.special.betaln(first, second)
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    value = float(weight @ (won / (won + lost)))
    places = np.searchsorted(np.cumsum(weight), (np.arange(POINTS) + 0.5) / POINTS)
    places = np.minimum(places, len(weight) - 1)
    tail = (1 - level) / 2
    low, high = (_quantile(q, won[places], lost[places]) for q in (tail, 1 - tail))
    return Estimate(
        value=value,
        low=low,
        high=high,
        level=level,
        n=trials,
        clusters=trials,
        method=METHOD,
    )


def shrunk_rates(
    predicted: Outcomes,
    real: Outcomes,
    *,
    known: ValidatedRates | None = None,
    level: float = 0.95,
) -> dict[str, Estimate]:
    """Compute `shrunk_rate` of every policy with real trials, fitted on policies of other lineages.

    A policy is excluded if fewer than three other lineages were both imagined and measured. Rates
    are means over tasks; all real trials of a policy count as trials of one rate.

    Args:
        known: policies that were imagined and measured; by default those given here.

    Raises:
        UserError: a policy or task is missing on one side.
    """
    s, r = aligned(predicted, real)
    lineage = {**predicted.lineage, **real.lineage}
    known = known or ValidatedRates(rates=_tried(s, r, lineage))
    out = {}
    for k, name in enumerate(r.policies):
        worth = known.worth(lineage.get(name, name))
        if worth is not None:
            n = int(r.count[k].sum())
            out[name] = shrunk_rate(worth, float(s.rates[k]), float(r.rates[k]) * n, n, level=level)
    return out


def _tried(s: Units, r: Units, lineage: Mapping[str, str]) -> tuple[ValidatedRate, ...]:
    return tuple(
        ValidatedRate(
            policy=name,
            lineage=lineage.get(name, name),
            predicted=float(s.rates[k]),
            successes=float(r.rates[k] * r.count[k].sum()),
            trials=int(r.count[k].sum()),
        )
        for k, name in enumerate(r.policies)
    )


def _quantile(q: float, won: Float[Array, " g"], lost: Float[Array, " g"]) -> float:
    """Quantile of an equally weighted mixture of beta distributions."""

    def excess(x: float) -> float:
        return float(scipy.special.betainc(won, lost, x).mean()) - q

    return float(scipy.optimize.brentq(excess, 0.0, 1.0, xtol=1e-6))
