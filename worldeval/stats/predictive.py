"""Predictive distribution of a policy's true rate, given its imagined rate.

The error of an imagined rate exceeds its sampling error: world model and judge err for a whole
policy at once, which no number of imagined starts removes. This error is learned from policies that
were both imagined and measured (in the simulator or on a robot):

    R ~ Beta(mu phi, (1 - mu) phi),   mu = expit(a + b logit s),   k ~ Binomial(n, R)

s is the imagined rate, with k measured successes in n trials. phi is a number of trials: an
imagined rate says as much about the true rate as that many trials. The likelihood of a checkpoint
is weighted by one over the number of checkpoints in its lineage, because checkpoints of one
training run err together. Priors: log phi has density phi^(-1/2), a ~ N(0, 0.5^2), log b ~ N(0,
0.3^2). If the judge's rates were corrected on other policies, a = 0 and b = 1. The posterior is
summed on a grid, so nothing is random.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy

from worldeval.axes import Array, Float
from worldeval.errors import UserError
from worldeval.stats.estimate import Estimate

PHI = np.geomspace(0.5, 2000.0, 96)  # trials
A, LOG_B = np.linspace(-1.5, 1.5, 31), np.linspace(-0.9, 0.9, 25)
SD_A, SD_LOG_B = 0.5, 0.3
LEAST = 0.005  # rates are kept this far from 0 and 1, so that their logits are finite
FEWEST_LINEAGES = 3
METHOD = "predictive, beta-binomial over validated policies"


@dataclass(frozen=True, kw_only=True)
class ValidatedRate:
    """Imagined and measured rate of a policy, or of a policy on one task."""

    policy: str
    lineage: str
    predicted: float  # imagined rate
    successes: float  # in the simulator or on the robot
    trials: int
    task: str | None = None  # None: the mean over tasks


@dataclass(frozen=True, kw_only=True)
class RateWorth:
    """Posterior of (phi, a, b) on a grid, and the policies that it was fitted to."""

    phi: Float[Array, " g"]
    a: Float[Array, " g"]
    b: Float[Array, " g"]
    weight: Float[Array, " g"]  # sums to 1
    lineages: tuple[str, ...]
    policies: int
    corrected: bool  # a = 0 and b = 1 were assumed

    def quantile(self, q: float) -> float:
        """Return a quantile of phi, in trials."""
        order = np.argsort(self.phi, kind="stable")
        total = np.cumsum(self.weight[order])
        return float(self.phi[order][min(np.searchsorted(total, q), len(total) - 1)])

    @property
    def trials(self) -> Estimate:
        """Return the posterior mean and central 95% interval of phi, in trials."""
        return Estimate(
            value=float(self.weight @ self.phi),
            low=self.quantile(0.025),
            high=self.quantile(0.975),
            level=0.95,
            n=self.policies,
            clusters=len(self.lineages),
            method=METHOD,
        )

    def sentence(self) -> str:
        """Describe phi in one sentence, for the line below a table."""
        found = self.trials
        assert found.value is not None and found.low is not None and found.high is not None
        return (
            f"An imagined rate is worth about {found.value:.0f} trials "
            f"[{found.low:.0f}, {found.high:.0f}] of the policy, as measured on "
            f"{self.policies} policies of {len(self.lineages)} other lineages."
        )

    def draw(self, rates: Float[Array, "b k"], *, rng: np.random.Generator) -> Float[Array, "b k"]:
        """Draw true rates of policies of new lineages.

        Args:
            rates: draws of the imagined rates given the imagined episodes, or the rates themselves,
                repeated. Each row uses one draw of (phi, a, b).
        """
        rows = rng.choice(len(self.weight), size=len(rates), p=self.weight)
        phi, a, b = (x[rows][:, None] for x in (self.phi, self.a, self.b))
        mean = scipy.special.expit(a + b * scipy.special.logit(np.clip(rates, LEAST, 1 - LEAST)))
        return rng.beta(mean * phi, (1 - mean) * phi)

    def mean(self, rate: float) -> float:
        """Return the expected true rate of a policy with this imagined rate."""
        at = scipy.special.logit(np.clip(rate, LEAST, 1 - LEAST))
        return float(self.weight @ scipy.special.expit(self.a + self.b * at))


@dataclass(frozen=True, kw_only=True)
class ValidatedRates:
    """Policies that were imagined and measured, used to fit the worth of imagined rates."""

    rates: tuple[ValidatedRate, ...]
    corrected: bool = False  # the imagined rates were corrected on other policies

    def worth(self, lineage: str | None = None) -> RateWorth | None:
        """Fit the worth of an imagined rate for a policy of `lineage`, excluding that lineage.

        Returns None if fewer than three other lineages were measured.
        """
        others = tuple(rate for rate in self.rates if rate.lineage != lineage and rate.trials > 0)
        if len({rate.lineage for rate in others}) < FEWEST_LINEAGES:
            return None
        return _fitted(others, self.corrected)

    def __add__(self, other: "ValidatedRates") -> "ValidatedRates":
        """Concatenate two sets; the result counts as corrected only if both are."""
        return ValidatedRates(
            rates=(*self.rates, *other.rates), corrected=self.corrected and other.corrected
        )


def draw_true_rates(
    rates: Float[Array, "b k"],
    worths: Sequence[RateWorth],
    *,
    rng: np.random.Generator,
) -> Float[Array, "b k"]:
    """Draw true rates of policies, each by the worth fitted for its lineage (`RateWorth.draw`).

    Policies with the same worth share draws of (phi, a, b).
    """
    out = np.empty_like(rates)
    kinds = {id(worth): worth for worth in worths}
    for key, worth in kinds.items():
        columns = [k for k, own in enumerate(worths) if id(own) == key]
        out[:, columns] = worth.draw(rates[:, columns], rng=rng)
    return out


def fit_worth(rates: Sequence[ValidatedRate], *, corrected: bool = False) -> RateWorth:
    """Fit the posterior of the worth of imagined rates.

    Args:
        rates: policies that were imagined and measured; rows without trials are excluded.
        corrected: the imagined rates were corrected on policies other than these (or for each
            lineage without that lineage), so that a = 0 and b = 1.

    Raises:
        UserError: fewer than three lineages were measured.
    """
    rates = [rate for rate in rates if rate.trials > 0]
    lineages = sorted({rate.lineage for rate in rates})
    if len(lineages) < FEWEST_LINEAGES:
        raise UserError(
            f"{len(lineages)} lineages were both imagined and measured, but at least "
            f"{FEWEST_LINEAGES} are needed to estimate the worth of an imagined rate. Run policies "
            "of more training runs."
        )
    size = Counter(rate.lineage for rate in rates)
    weight = np.array([1 / size[rate.lineage] for rate in rates])
    shown = scipy.special.logit(np.clip([rate.predicted for rate in rates], LEAST, 1 - LEAST))
    k, n = (
        np.array([float(x) for x in column])
        for column in zip(*((rate.successes, rate.trials) for rate in rates), strict=True)
    )
    a, log_b = (np.zeros(1), np.zeros(1)) if corrected else (A, LOG_B)
    phi, a, log_b = (x.ravel() for x in np.meshgrid(PHI, a, log_b, indexing="ij"))
    log = -np.log(phi) / 2 - (a / SD_A) ** 2 / 2 - (log_b / SD_LOG_B) ** 2 / 2
    for each in range(len(rates)):
        mean = scipy.special.expit(a + np.exp(log_b) * shown[each])
        first, second = mean * phi, (1 - mean) * phi
        log += weight[each] * (
            scipy.special.betaln(k[each] + first, n[each] - k[each] + second)
            - scipy.special.betaln(first, second)
        )
    posterior = np.exp(log - log.max())
    posterior /= posterior.sum()
    kept = posterior > 1e-9  # the rest is never drawn
    return RateWorth(
        phi=phi[kept],
        a=a[kept],
        b=np.exp(log_b[kept]),
        weight=posterior[kept] / posterior[kept].sum(),
        lineages=tuple(lineages),
        policies=len({rate.policy for rate in rates}),
        corrected=corrected,
    )


@cache
def _fitted(rates: tuple[ValidatedRate, ...], corrected: bool) -> RateWorth:
    """Fit with a cache, so that all policies of new lineages share one posterior."""
    return fit_worth(rates, corrected=corrected)


def predictive_interval(
    draws: Float[Array, " b"], *, level: float = 0.95, n: int, clusters: int
) -> Estimate:
    """Compute mean and central interval of draws of a true rate."""
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Estimate(
        value=float(draws.mean()),
        low=float(low),
        high=float(high),
        level=level,
        n=n,
        clusters=clusters,
        method=METHOD,
    )


def order_probability(draws: Float[Array, "b k"]) -> Float[Array, "k k"]:
    """Compute the matrix of probabilities that policy i is better than policy j."""
    return (draws[:, :, None] > draws[:, None, :]).mean(axis=0)


def trials_to_tell(
    worth: RateWorth, first: float, second: float, *, level: float = 0.95, power: float = 0.8
) -> int | None:
    """Compute the trials of each of two policies that separate them, given their imagined rates.

    A rate mu after N trials at that rate has variance mu (1 - mu) / (phi + N + 1); the difference
    must exceed z_(1 - alpha/2) + z_power of its standard deviations. Returns None if the expected
    rates are equal, and 0 if imagination alone separates them.
    """
    one, two = worth.mean(first), worth.mean(second)
    if abs(one - two) < 1e-6:
        return None
    z = float(scipy.stats.norm.ppf((1 + level) / 2) + scipy.stats.norm.ppf(power))
    spread = one * (1 - one) + two * (1 - two)
    return max(0, int(np.ceil((z / (one - two)) ** 2 * spread - worth.quantile(0.5) - 1)))


@dataclass(frozen=True, kw_only=True)
class ConformalInterval:
    """Distribution-free bound on the error of a new lineage's worst policy.

    Split conformal prediction with a lineage as the unit (exchangeable lineages; Vovk et al. 2005):
    the score of a lineage is its worst |S - R|. The level (ceil((L + 1) level)) / L must exist for
    L lineages, which takes 9 lineages for 90% and 19 for 95%.
    """

    radius: float
    level: float
    lineages: int


def conformal(rates: Sequence[ValidatedRate], *, level: float = 0.95) -> ConformalInterval | None:
    """Compute the conformal radius at `level`; None if there are too few lineages."""
    worst: dict[str, float] = {}
    for rate in rates:
        if rate.trials:
            gap = abs(rate.predicted - rate.successes / rate.trials)
            worst[rate.lineage] = max(worst.get(rate.lineage, 0.0), gap)
    place = int(np.ceil((len(worst) + 1) * level - 1e-9))
    if not worst or place > len(worst):
        return None
    radius = sorted(worst.values())[place - 1]
    return ConformalInterval(radius=float(radius), level=level, lineages=len(worst))
