"""Predicted against real rates of the same policies: how far the ranking can be relied on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldeval.axes import Array, Float
from worldeval.errors import UserError
from worldeval.stats import findings, measures
from worldeval.stats.ceiling import perfect_cells, shrunk, summarise
from worldeval.stats.estimate import Estimate, undefined
from worldeval.stats.findings import Finding
from worldeval.stats.outcomes import Outcomes
from worldeval.stats.resample import DRAWS, draw_cells, interval
from worldeval.stats.units import Units, aligned, units

MIDRANGE = (0.05, 0.97)  # policies that neither always fail nor always succeed
MARGIN = 0.05  # real gap above which a pair is worth ordering
FEWEST = 3  # policies below which no agreement is measured
ERROR = {"best": 0.0, "worst": 1.0}  # range of a measure whose 0 is perfect

Measure = Callable[[Array, Array], Any]  # of predicted and real, in batches


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Every measure with its interval. S is predicted, R is real."""

    policies: tuple[str, ...]
    tasks: tuple[str, ...]
    predicted: tuple[float, ...]  # rate per policy
    real: tuple[float, ...]
    pearson: Estimate  # Fisher z: other policies of the same kind
    pearson_starts: Estimate  # the same r, resampled over starts: other starts, these policies
    spearman: Estimate
    kendall: Estimate
    mmrv: Estimate
    pairwise_accuracy: Estimate
    top1_regret: Estimate
    top3_regret: Estimate
    within_task_spearman: Estimate  # mean over tasks
    midrange_spearman: Estimate
    cell_mae: Estimate  # mean |S - R| over policy x task
    bias: Estimate  # mean S - R over policies: positive is optimism
    mae: Estimate  # mean |S - R| over policies
    slope: float | None  # of R on S: 1 if calibrated
    intercept: float | None
    permutation_p: float | None  # exact, one-sided, of Spearman's rho
    margin: float
    ceiling: Mapping[str, Estimate]  # pearson, spearman, mmrv of a perfect evaluator
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """The `agreement` of a run's summary."""
        names = ("pearson", "spearman", "kendall", "mmrv", "pairwise_accuracy", "top1_regret")
        return {
            **{name: getattr(self, name).to_json() for name in names},
            "ceiling": {name: e.to_json() for name, e in self.ceiling.items()},
        }

    def details(self) -> dict[str, Any]:
        """What `to_json` leaves out."""
        names = (
            "pearson_starts",
            "top3_regret",
            "within_task_spearman",
            "midrange_spearman",
            "cell_mae",
            "bias",
            "mae",
        )
        return {
            "policies": {
                name: {"predicted": s, "real": r}
                for name, s, r in zip(self.policies, self.predicted, self.real, strict=True)
            },
            "tasks": list(self.tasks),
            **{name: getattr(self, name).to_json() for name in names},
            "slope": self.slope,
            "intercept": self.intercept,
            "permutation_p": self.permutation_p,
            "margin": self.margin,
        }


def agreement(
    predicted: Outcomes,
    real: Outcomes,
    *,
    rng: np.random.Generator,
    margin: float = MARGIN,
    level: float = 0.95,
    draws: int = DRAWS,
) -> Agreement:
    """Compare predicted with real rates of the same policies on the same tasks.

    Intervals come from resampling the starts of every task on both sides (`resample.py`); Pearson
    has Fisher's z over policies too.

    Args:
        margin: pairwise accuracy is over pairs whose real gap exceeds it.

    Raises:
        UserError: a policy or task is on one side only, or there are fewer than 3 policies.
    """
    s, r = aligned(predicted, real)
    return agreement_of_units(s, r, rng=rng, margin=margin, level=level, draws=draws)


def agreement_of_units(
    s: Units,
    r: Units,
    *,
    rng: np.random.Generator,
    margin: float = MARGIN,
    level: float = 0.95,
    draws: int = DRAWS,
) -> Agreement:
    """`agreement` of start means, predicted and real, in one layout."""
    k = len(r.policies)
    if k < FEWEST:
        raise UserError(
            f"{k} polic{'y' if k == 1 else 'ies'} on both sides: agreement needs at least "
            f"{FEWEST}. Add checkpoints, or compare the two with `worldeval rank`."
        )
    redrawn_s, redrawn_r = draw_cells([s, r], rng=rng, draws=draws)
    perfect_s, perfect_r = perfect_cells(
        shrunk(r.cells, r.count), n_real=r.count, n_predicted=s.count, rng=rng, draws=draws
    )
    sides = _Sides(
        seen=(s.cells, r.cells),
        redrawn=(redrawn_s, redrawn_r),
        perfect=(perfect_s, perfect_r),
        clusters=int(max((~np.isnan(side.mean)).any(axis=0).sum() for side in (s, r))),
        level=level,
    )
    linear = float(measures.pearson(s.rates, r.rates))
    fisher = measures.fisher_z(linear, k, level=level) or (None, None)
    slope, intercept = measures.calibration_line(s.rates, r.rates)
    rho, chance = sides.of_rates(measures.spearman), measures.permutation_p(s.rates, r.rates)
    middle = (r.rates >= MIDRANGE[0]) & (r.rates <= MIDRANGE[1])
    wide = measures.separable(r.rates, margin=margin)
    return Agreement(
        policies=r.policies,
        tasks=r.tasks,
        predicted=tuple(map(float, s.rates)),
        real=tuple(map(float, r.rates)),
        pearson=Estimate(
            value=linear,
            low=fisher[0],
            high=fisher[1],
            level=level,
            n=k,
            clusters=k,
            method="Fisher z over policies",
        ),
        pearson_starts=sides.of_rates(measures.pearson),
        spearman=rho,
        kendall=sides.of_rates(measures.kendall),
        mmrv=sides.of_rates(lambda s, r: measures.mmrv(predicted=s, real=r), **ERROR),
        pairwise_accuracy=sides.of_rates(
            lambda s, r: measures.pairs_right(s, wide, r), best=1.0, worst=0.0
        ),
        top1_regret=sides.of_rates(measures.top_regret, **ERROR),
        top3_regret=sides.of_rates(lambda s, r: measures.top_regret(s, r, top=3), **ERROR),
        within_task_spearman=sides.of_cells(within_task),
        midrange_spearman=sides.of_rates(
            lambda s, r: measures.spearman(s[..., middle], r[..., middle])
        )
        if middle.sum() >= FEWEST
        else undefined(level=level, n=int(middle.sum()), clusters=0, method="too few policies"),
        cell_mae=sides.of_cells(lambda s, r: np.abs(s - r).mean(axis=(-2, -1)), **ERROR),
        bias=sides.bias(),
        mae=sides.of_rates(lambda s, r: np.abs(s - r).mean(axis=-1), **ERROR),
        slope=slope,
        intercept=intercept,
        permutation_p=chance,
        margin=margin,
        ceiling=summarise(perfect_s.mean(axis=2), perfect_r.mean(axis=2), level=level),
        findings=(
            *findings.constant_side(tuple(s.rates), tuple(r.rates)),
            *findings.chance_agreement(rho, chance, alpha=1 - level),
        ),
    )


def baseline(values: Mapping[str, float], real: Outcomes) -> dict[str, float | None]:
    """Agreement of any number per policy (larger means better) with the real rates.

    For validation error pass its negative; the number needs no unit, since MMRV reads its order
    only and Pearson its line.

    Raises:
        UserError: a policy has no value.
    """
    r = units(real)
    missing = [name for name in r.policies if name not in values]
    if missing:
        raise UserError(f"The baseline has no value for policy '{missing[0]}'. Give one for each.")
    s = np.array([float(values[name]) for name in r.policies])
    found = {
        "pearson": measures.pearson(s, r.rates),
        "spearman": measures.spearman(s, r.rates),
        "mmrv": measures.mmrv(predicted=s, real=r.rates),
    }
    return {name: None if np.isnan(x) else float(x) for name, x in found.items()}


def within_task(s: Float[Array, "*b k t"], r: Float[Array, "*b k t"]) -> Float[Array, "*b"]:
    """Mean over tasks of Spearman over policies; tasks in which it is undefined are left out."""
    each = measures.spearman(np.swapaxes(s, -1, -2), np.swapaxes(r, -1, -2))
    known = ~np.isnan(each)
    total = np.where(known, each, 0.0).sum(axis=-1)
    return np.where(known.any(axis=-1), total / np.maximum(known.sum(axis=-1), 1), np.nan)


@dataclass(frozen=True, kw_only=True)
class _Sides:
    """Predicted and real rates as observed, as redrawn, and as a perfect evaluator shows them."""

    seen: tuple[Float[Array, "k t"], Float[Array, "k t"]]
    redrawn: tuple[Float[Array, "b k t"], Float[Array, "b k t"]]
    perfect: tuple[Float[Array, "b k t"], Float[Array, "b k t"]]
    clusters: int
    level: float

    def of_cells(self, measure: Measure, *, best: float = 1.0, worst: float = -1.0) -> Estimate:
        """A measure of the K x T rates, whose range is given."""
        value = float(measure(*self.seen))
        bounds = interval(
            value,
            measure(*self.redrawn),
            measure(*self.perfect),
            best=best,
            worst=worst,
            level=self.level,
        )
        low, high = bounds or (None, None)
        return Estimate(
            value=value,
            low=low,
            high=high,
            level=self.level,
            n=self.seen[0].shape[0],
            clusters=self.clusters,
            method="resampled starts",
        )

    def bias(self) -> Estimate:
        """Mean S - R: linear in the rates, so that its draws need no reflection."""
        tail = (1 - self.level) / 2
        low, high = np.quantile(_bias(*self.redrawn), [tail, 1 - tail])
        value = float(_bias(*self.seen))
        return Estimate(
            value=value,
            low=min(float(low), value),
            high=max(float(high), value),
            level=self.level,
            n=self.seen[0].shape[0],
            clusters=self.clusters,
            method="resampled starts",
        )

    def of_rates(self, measure: Measure, *, best: float = 1.0, worst: float = -1.0) -> Estimate:
        """A measure of the K rates, each the mean over tasks."""
        return self.of_cells(
            lambda s, r: measure(s.mean(axis=-1), r.mean(axis=-1)), best=best, worst=worst
        )


def _bias(s: Float[Array, "*b k t"], r: Float[Array, "*b k t"]) -> Float[Array, "*b"]:
    return np.asarray((s - r).mean(axis=(-2, -1)))
