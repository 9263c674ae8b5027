"""What an imagined rate is worth: the true rate of a policy, given its imagined one.

An imagined rate is off by more than its sampling error: world model and judge err for a whole
policy at once, and no number of imagined starts removes that. The error is learned from policies
that were both imagined and tried (the simulator or a robot):

    R ~ Beta(mu phi, (1 - mu) phi),   mu = expit(a + b logit s),   k ~ Binomial(n, R)

s is the imagined rate, k successes in n trials. phi is a number of trials: an imagined rate says as
much about the true one as that many trials would. The likelihood of a checkpoint weighs one over
the checkpoints of its lineage, since checkpoints of one training run err together. Priors: log phi
has density phi^(-1/2), a ~ N(0, 0.5^2), log b ~ N(0, 0.3^2). Where the judge's rates were corrected
on other policies, a = 0 and b = 1. The posterior is summed on a grid: no sampler, nothing random.
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
LEAST = 0.005  # a rate is no nearer to 0 or 1 than this: its logit would be infinite
FEWEST_LINEAGES = 3
METHOD = "predictive, beta-binomial over validated policies"


@dataclass(frozen=True, kw_only=True)
class ValidatedRate:
    """A policy (or a policy on one task) that was imagined and tried."""

    policy: str
    lineage: str
    predicted: float  # imagined rate
    successes: float  # in the simulator or on the robot
    trials: int
    task: str | None = None  # None: the mean over tasks


@dataclass(frozen=True, kw_only=True)
class RateWorth:
    """The posterior of (phi, a, b) on a grid, and the policies that it comes from."""

    phi: Float[Array, " g"]
    a: Float[Array, " g"]
    b: Float[Array, " g"]
    weight: Float[Array, " g"]  # sums to 1
    lineages: tuple[str, ...]
    policies: int
    corrected: bool  # a = 0 and b = 1 were assumed

    def quantile(self, q: float) -> float:
        """A quantile of phi, in trials."""
        order = np.argsort(self.phi, kind="stable")
        total = np.cumsum(self.weight[order])
        return float(self.phi[order][min(np.searchsorted(total, q), len(total) - 1)])

    @property
    def trials(self) -> Estimate:
        """phi: its posterior mean and central 95% interval, in trials."""
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
        """phi in words, for the line below a table."""
        found = self.trials
        assert found.value is not None and found.low is not None and found.high is not None
        return (
            f"An imagined rate is worth about {found.value:.0f} trials "
            f"[{found.low:.0f}, {found.high:.0f}] of the policy itself, as measured on "
            f"{self.policies} policies of {len(self.lineages)} other lineages."
        )

    def draw(self, rates: Float[Array, "b k"], *, rng: np.random.Generator) -> Float[Array, "b k"]:
        """Draws of the true rates of policies of new lineages.

        Args:
            rates: draws of the imagined rates given the imagined episodes, or the rates themselves
                repeated. One draw of (phi, a, b) serves a whole row.
        """
        rows = rng.choice(len(self.weight), size=len(rates), p=self.weight)
        phi, a, b = (x[rows][:, None] for x in (self.phi, self.a, self.b))
        mean = scipy.special.expit(a + b * scipy.special.logit(np.clip(rates, LEAST, 1 - LEAST)))
        return rng.beta(mean * phi, (1 - mean) * phi)

    def mean(self, rate: float) -> float:
        """Expected true rate of a policy with this imagined rate."""
        at = scipy.special.logit(np.clip(rate, LEAST, 1 - LEAST))
        return float(self.weight @ scipy.special.expit(self.a + self.b * at))


@dataclass(frozen=True, kw_only=True)
class ValidatedRates:
    """Policies that were imagined and tried, from which the worth of a further one is fitted."""

    rates: tuple[ValidatedRate, ...]
    corrected: bool = False  # the imagined rates were corrected on other policies

    def worth(self, lineage: str | None = None) -> RateWorth | None:
        """The worth of an imagined rate for a policy of `lineage`, which is itself left out.

        None where fewer than three other lineages were tried.
        """
        others = tuple(rate for rate in self.rates if rate.lineage != lineage and rate.trials > 0)
        if len({rate.lineage for rate in others}) < FEWEST_LINEAGES:
            return None
        return _fitted(others, self.corrected)

    def __add__(self, other: "ValidatedRates") -> "ValidatedRates":
        """Both together: corrected only where both are."""
        return ValidatedRates(
            rates=(*self.rates, *other.rates), corrected=self.corrected and other.corrected
        )


def draw_true_rates(
    rates: Float[Array, "b k"],
    worths: Sequence[RateWorth],
    *,
    rng: np.random.Generator,
) -> Float[Array, "b k"]:
    """Draws of the true rates of policies, each by the worth of its own lineage (`RateWorth.draw`).

    Policies of one worth share its draws of (phi, a, b).
    """
    out = np.empty_like(rates)
    kinds = {id(worth): worth for worth in worths}
    for key, worth in kinds.items():
        columns = [k for k, own in enumerate(worths) if id(own) == key]
        out[:, columns] = worth.draw(rates[:, columns], rng=rng)
    return out


def fit_worth(rates: Sequence[ValidatedRate], *, corrected: bool = False) -> RateWorth:
    """The posterior of what imagined rates are worth.

    Args:
        rates: policies that were imagined and tried; rows without trials are left out.
        corrected: the imagined rates were corrected on other policies than these (or each lineage
            with itself left out), so that a = 0 and b = 1.

    Raises:
        UserError: fewer than three lineages were tried.
    """
    rates = [rate for rate in rates if rate.trials > 0]
    lineages = sorted({rate.lineage for rate in rates})
    if len(lineages) < FEWEST_LINEAGES:
        raise UserError(
            f"{len(lineages)} lineages were both imagined and tried; at least {FEWEST_LINEAGES} "
            "are needed to say what an imagined rate is worth. Try policies of more training runs."
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
    """Kept, so that all policies whose lineage is new share one posterior."""
    return fit_worth(rates, corrected=corrected)


def predictive_interval(
    draws: Float[Array, " b"], *, level: float = 0.95, n: int, clusters: int
) -> Estimate:
    """Mean and central interval of draws of a true rate."""
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
    """Entry (i, j): the probability that policy i is better than policy j."""
    return (draws[:, :, None] > draws[:, None, :]).mean(axis=0)


def trials_to_tell(
    worth: RateWorth, first: float, second: float, *, level: float = 0.95, power: float = 0.8
) -> int | None:
    """Trials of each of two policies that would tell them apart, their imagined rates included.

    A rate mu after N trials at that rate has variance mu (1 - mu) / (phi + N + 1); the difference
    must exceed z_(1 - alpha/2) + z_power of its standard deviations. None where the expected rates
    are equal; 0 where imagination alone tells.
    """
    one, two = worth.mean(first), worth.mean(second)
    if abs(one - two) < 1e-6:
        return None
    z = float(scipy.stats.norm.ppf((1 + level) / 2) + scipy.stats.norm.ppf(power))
    spread = one * (1 - one) + two * (1 - two)
    return max(0, int(np.ceil((z / (one - two)) ** 2 * spread - worth.quantile(0.5) - 1)))


@dataclass(frozen=True, kw_only=True)
class ConformalInterval:
    """How far a new lineage's worst policy may be off, by ranks alone.

    Split conformal prediction with a lineage as the unit (exchangeable lineages; Vovk et al. 2005):
    the score of a lineage is its worst |S - R|. With L lineages the level (ceil((L + 1) level)) / L
    must exist: 9 lineages for 90%, 19 for 95%.
    """

    radius: float
    level: float
    lineages: int


def conformal(rates: Sequence[ValidatedRate], *, level: float = 0.95) -> ConformalInterval | None:
    """The conformal radius at `level`; None where there are too few lineages for it."""
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
