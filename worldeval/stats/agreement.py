"""Agreement of predicted and measured success rates of the same policies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from worldeval.axes import Array, Bool, Float
from worldeval.errors import UserError
from worldeval.stats import findings, measures
from worldeval.stats.ceiling import GRADED, perfect_cells, shrunk, summarise
from worldeval.stats.estimate import Estimate, undefined
from worldeval.stats.findings import Finding
from worldeval.stats.lineages import lineage_of, spearman_over_lineages
from worldeval.stats.outcomes import Outcomes
from worldeval.stats.resample import DRAWS, draw_cells, interval
from worldeval.stats.units import Units, aligned

MIDRANGE = (0.05, 0.97)  # policies that neither always fail nor always succeed
MARGIN = 0.05  # measured gap above which the order of a pair counts
FEWEST = 3  # minimum number of policies for a measure of agreement
METHOD = "resampled starts, these policies"
ERROR = {"best": 0.0, "worst": 1.0}  # range of a measure that is 0 for perfect agreement

Measure = Callable[[Array, Array], Any]  # of predicted and real, in batches


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """All measures of agreement with their intervals. S is predicted, R is measured."""

    policies: tuple[str, ...]
    tasks: tuple[str, ...]
    predicted: tuple[float, ...]  # rate per policy
    real: tuple[float, ...]
    # Intervals over lineages: other training runs of the same kind.
    pearson: Estimate  # Fisher z
    spearman: Estimate
    # Intervals over starts, for these policies, as for all fields below.
    pearson_starts: Estimate
    spearman_starts: Estimate
    pearson_strong: Estimate  # among policies above the median measured rate
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
    # pearson, spearman, mmrv of a perfect binary evaluator with as many starts, and of a graded one
    ceiling: Mapping[str, Estimate]
    ceiling_graded: Mapping[str, Estimate]
    task_bias: Mapping[str, Estimate]  # mean S - R over policies; simultaneous over tasks
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """The `agreement` of a run's summary."""
        names = ("pearson", "spearman", "kendall", "mmrv", "pairwise_accuracy", "top1_regret")
        return {
            **{name: getattr(self, name).to_json() for name in names},
            "ceiling": {name: e.to_json() for name, e in self.ceiling.items()},
            "ceiling_graded": {name: e.to_json() for name, e in self.ceiling_graded.items()},
            "methods": {name: getattr(self, name).method for name in names},
        }

    def details(self) -> dict[str, Any]:
        """What `to_json` leaves out."""
        names = (
            "pearson_starts",
            "spearman_starts",
            "pearson_strong",
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
            "task_bias": {task: e.to_json() for task, e in self.task_bias.items()},
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
    """Compare predicted with measured rates of the same policies on the same tasks.

    Intervals of Pearson and Spearman are over lineages (`lineages.py`). Those of the other measures
    come from resampling the starts of every task on both sides, with the policies fixed
    (`resample.py`).

    Args:
        margin: pairwise accuracy counts only pairs whose measured gap exceeds it.

    Raises:
        UserError: a policy or task is missing on one side, or there are fewer than 3 policies.
    """
    s, r = aligned(predicted, real)
    lineage = {**predicted.lineage, **real.lineage}
    return agreement_of_units(
        s, r, lineage=lineage, rng=rng, margin=margin, level=level, draws=draws
    )


def agreement_of_units(
    s: Units,
    r: Units,
    *,
    lineage: Mapping[str, str],
    rng: np.random.Generator,
    margin: float = MARGIN,
    level: float = 0.95,
    draws: int = DRAWS,
) -> Agreement:
    """Compute `agreement` from start means, predicted and measured, that share one layout.

    Args:
        lineage: training run of each policy; a policy not listed is a lineage of its own.
    """
    k = len(r.policies)
    if k < FEWEST:
        raise UserError(
            f"Only {k} polic{'y is' if k == 1 else 'ies are'} on both sides. Agreement needs at "
            f"least {FEWEST} policies, and at least 5 for a meaningful test. Add checkpoints, or "
            "compare policies with `worldeval rank`."
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
    group = lineage_of(r.policies, lineage)
    lineages = int(group.max()) + 1
    linear = float(measures.pearson(s.rates, r.rates))
    fisher = measures.fisher_z(linear, lineages, level=level) or (None, None)
    slope, intercept = measures.calibration_line(s.rates, r.rates)
    rho, chance = sides.of_rates(measures.spearman), measures.permutation_p(s.rates, r.rates)
    floor = measures.permutation_floor(s.rates, r.rates)
    strong = r.rates > np.median(r.rates)
    above = sides.among(strong, measures.pearson)
    by_task = sides.task_bias(r.tasks)
    exact = np.broadcast_to(shrunk(r.cells, r.count).mean(axis=1), perfect_r.shape[:2])
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
            clusters=lineages,
            method=f"Fisher z over {lineages} lineages",
        ),
        pearson_starts=sides.of_rates(measures.pearson),
        pearson_strong=above,
        spearman=spearman_over_lineages(
            s.rates,
            r.rates,
            group,
            value=float("nan") if rho.value is None else rho.value,
            rng=rng,
            level=level,
            draws=draws,
        ),
        spearman_starts=rho,
        kendall=sides.of_rates(measures.kendall),
        mmrv=sides.of_rates(lambda s, r: measures.mmrv(predicted=s, real=r), **ERROR),
        pairwise_accuracy=sides.of_rates(
            lambda s, r: measures.pairs_right(s, wide, r), best=1.0, worst=0.0
        ),
        top1_regret=sides.of_rates(measures.top_regret, **ERROR),
        top3_regret=sides.of_rates(lambda s, r: measures.top_regret(s, r, top=3), **ERROR),
        within_task_spearman=sides.of_cells(within_task),
        midrange_spearman=sides.among(middle, measures.spearman),
        cell_mae=sides.of_cells(lambda s, r: np.abs(s - r).mean(axis=(-2, -1)), **ERROR),
        bias=sides.bias(),
        mae=sides.of_rates(lambda s, r: np.abs(s - r).mean(axis=-1), **ERROR),
        slope=slope,
        intercept=intercept,
        permutation_p=chance,
        margin=margin,
        ceiling=summarise(perfect_s.mean(axis=2), perfect_r.mean(axis=2), level=level),
        ceiling_graded=summarise(exact, perfect_r.mean(axis=2), level=level, method=GRADED),
        task_bias=by_task,
        findings=(
            *findings.constant_side(tuple(s.rates), tuple(r.rates)),
            *findings.chance_agreement(rho, chance, floor, alpha=1 - level),
            *findings.weak_policies_carry_r(linear, above),
            *findings.task_biased(by_task, *(tuple(x.cells.mean(axis=0)) for x in (s, r))),
        ),
    )


def within_task(s: Float[Array, "*b k t"], r: Float[Array, "*b k t"]) -> Float[Array, "*b"]:
    """Average Spearman's rho over tasks, skipping tasks in which it is undefined."""
    each = measures.spearman(np.swapaxes(s, -1, -2), np.swapaxes(r, -1, -2))
    known = ~np.isnan(each)
    total = np.where(known, each, 0.0).sum(axis=-1)
    return np.where(known.any(axis=-1), total / np.maximum(known.sum(axis=-1), 1), np.nan)


@dataclass(frozen=True, kw_only=True)
class _Sides:
    """Predicted and measured rates: observed, resampled, and those of a perfect evaluator."""

    seen: tuple[Float[Array, "k t"], Float[Array, "k t"]]
    redrawn: tuple[Float[Array, "b k t"], Float[Array, "b k t"]]
    perfect: tuple[Float[Array, "b k t"], Float[Array, "b k t"]]
    clusters: int
    level: float

    def of_cells(self, measure: Measure, *, best: float = 1.0, worst: float = -1.0) -> Estimate:
        """Estimate a measure of the K x T rates; `best` and `worst` are the ends of its range."""
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
            method=METHOD,
        )

    def among(self, chosen: Bool[Array, " k"], measure: Measure) -> Estimate:
        """Estimate a measure over a fixed subset of the policies."""
        if chosen.sum() < FEWEST:
            return undefined(
                level=self.level, n=int(chosen.sum()), clusters=0, method="too few policies"
            )
        found = self.of_rates(lambda s, r: measure(s[..., chosen], r[..., chosen]))
        return replace(found, n=int(chosen.sum()))

    def task_bias(self, tasks: tuple[str, ...]) -> dict[str, Estimate]:
        """Mean S - R over policies for each task, with simultaneous intervals (Bonferroni)."""
        each = 1 - (1 - self.level) / len(tasks)
        value, drawn = ((side[0] - side[1]).mean(axis=-2) for side in (self.seen, self.redrawn))
        low, high = np.quantile(drawn, [(1 - each) / 2, (1 + each) / 2], axis=0)
        return {
            task: Estimate(
                value=value[t],
                low=min(low[t], value[t]),
                high=max(high[t], value[t]),
                level=self.level,
                n=self.seen[0].shape[0],
                clusters=self.clusters,
                method=f"{METHOD}, Bonferroni over tasks",
            )
            for t, task in enumerate(tasks)
        }

    def bias(self) -> Estimate:
        """Mean S - R; it is linear in the rates, so its draws need no reflection."""
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
            method=METHOD,
        )

    def of_rates(self, measure: Measure, *, best: float = 1.0, worst: float = -1.0) -> Estimate:
        """Estimate a measure of the K policy rates, each the mean over tasks."""
        return self.of_cells(
            lambda s, r: measure(s.mean(axis=-1), r.mean(axis=-1)), best=best, worst=worst
        )


def _bias(s: Float[Array, "*b k t"], r: Float[Array, "*b k t"]) -> Float[Array, "*b"]:
    return np.asarray((s - r).mean(axis=(-2, -1)))
