"""A policy's true rate from a few real trials and its imagined rate: shrunk towards imagination.

What imagination adds to a few real trials lies between policies, not between starts: it tells a
good policy from a bad one, and hardly a lucky start from an unlucky one. So the real trials update
what the imagined rate predicts. Given (phi, a, b) of `predictive.py`, the prior is
Beta(mu phi, (1 - mu) phi), and k successes in n trials make it Beta(mu phi + k, (1 - mu) phi + n -
k); the values on the grid are weighed anew by how well they predict k.

With many real trials the real rate alone is nearer to the truth: phi is the same for all policies,
and imagination errs more for some.
"""

from collections.abc import Mapping

import numpy as np
import scipy

from worldeval.axes import Array, Float
from worldeval.stats.estimate import Estimate
from worldeval.stats.outcomes import Outcomes
from worldeval.stats.predictive import LEAST, RateWorth, ValidatedRate, ValidatedRates
from worldeval.stats.units import Units, aligned

POINTS = 1000  # of the posterior of (phi, a, b), at equal steps of its weight
METHOD = "imagined rate, updated by real trials (beta-binomial)"


def shrunk_rate(
    worth: RateWorth, imagined: float, successes: float, trials: int, *, level: float = 0.95
) -> Estimate:
    """Mean and central interval of the true rate given an imagined rate and real trials.

    Args:
        imagined: rate in imagination.
        successes: real ones; need not be whole, where starts were tried several times.
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
    """`shrunk_rate` of every policy with real trials, by policies of other lineages.

    A policy is left out where fewer than three other lineages were both imagined and tried. Rates
    are means over tasks; a policy's real trials count as those of one rate.

    Args:
        known: policies that were imagined and tried; by default those given here.

    Raises:
        UserError: a policy or task is on one side only.
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
    """A quantile of a mixture of beta distributions of equal weight."""

    def excess(x: float) -> float:
        return float(scipy.special.betainc(won, lost, x).mean()) - q

    return float(scipy.optimize.brentq(excess, 0.0, 1.0, xtol=1e-6))
