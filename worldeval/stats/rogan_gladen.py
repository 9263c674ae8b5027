"""Errors of a judge: its confusion matrix, the corrected rate, and homogeneity over policies.

Labels on imagined clips correct the judge's error only. Correcting the world model's error as well
takes paired real outcomes (`ppi.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import scipy

from worldeval.axes import Array, Float
from worldeval.stats import findings
from worldeval.stats.estimate import Estimate, undefined
from worldeval.stats.findings import Finding
from worldeval.stats.rates import wilson


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Confusion matrix of a judge against labels."""

    true_positive: int
    false_negative: int
    true_negative: int
    false_positive: int

    @property
    def positives(self) -> int:
        """Number of clips labelled as success."""
        return self.true_positive + self.false_negative

    @property
    def negatives(self) -> int:
        """Number of clips labelled as failure."""
        return self.true_negative + self.false_positive

    @property
    def sensitivity(self) -> float | None:
        """Share of successes that the judge recognises."""
        return self.true_positive / self.positives if self.positives else None

    @property
    def specificity(self) -> float | None:
        """Share of failures that the judge recognises."""
        return self.true_negative / self.negatives if self.negatives else None


def confusion(judged: Sequence[bool], truth: Sequence[bool]) -> Confusion:
    """Count a judge's verdicts against labels."""
    says, is_ = np.asarray(judged, dtype=bool), np.asarray(truth, dtype=bool)
    return Confusion(
        true_positive=int((says & is_).sum()),
        false_negative=int((~says & is_).sum()),
        true_negative=int((~says & ~is_).sum()),
        false_positive=int((says & ~is_).sum()),
    )


def confusion_per_policy(
    judged: Sequence[bool], truth: Sequence[bool], policy: Sequence[str]
) -> dict[str, Confusion]:
    """Compute the `confusion` of each policy's clips."""
    names = np.asarray(policy)
    says, is_ = np.asarray(judged, dtype=bool), np.asarray(truth, dtype=bool)
    return {
        name: confusion(says[names == name].tolist(), is_[names == name].tolist())
        for name in dict.fromkeys(policy)
    }


def informativeness(judge: Confusion, *, level: float = 0.95) -> Estimate:
    """Estimate J = Se + Sp - 1: 1 for a perfect judge, 0 for one that guesses (MOVER interval)."""
    n = judge.positives + judge.negatives
    se, sp = judge.sensitivity, judge.specificity
    if se is None or sp is None:
        return undefined(level=level, n=n, clusters=n, method="MOVER-Wilson")
    low1, high1 = wilson(judge.true_positive, judge.positives, level=level)
    low0, high0 = wilson(judge.true_negative, judge.negatives, level=level)
    j = se + sp - 1
    return Estimate(
        value=j,
        low=j - sqrt((se - low1) ** 2 + (sp - low0) ** 2),
        high=j + sqrt((high1 - se) ** 2 + (high0 - sp) ** 2),
        level=level,
        n=n,
        clusters=n,
        method="MOVER-Wilson",
    )


def rogan_gladen(said: float, n: int, judge: Confusion, *, level: float = 0.95) -> Estimate:
    """Correct a judge's rate `said` over n clips for its errors (Rogan and Gladen 1978).

    theta = (q + Sp - 1) / J, clipped to [0, 1];
    Var = [q(1-q)/n + theta^2 Se(1-Se)/n1 + (1-theta)^2 Sp(1-Sp)/n0] / J^2.
    The rates inside the variance are smoothed by half a success and half a failure each, because
    a judge without errors on 20 labels may still make some. The result is undefined if the judge is
    uninformative (J <= 0). It assumes that Se and Sp are the same for this policy as for the
    labelled clips; see `homogeneity`.
    """
    method = "Rogan-Gladen"
    se, sp = judge.sensitivity, judge.specificity
    if se is None or sp is None or n == 0 or se + sp - 1 <= 0:
        return undefined(level=level, n=n, clusters=n, method=method)
    j = se + sp - 1
    theta = float(np.clip((said + sp - 1) / j, 0, 1))

    def variance(p: float, trials: int) -> float:
        smooth = (p * trials + 0.5) / (trials + 1)
        return smooth * (1 - smooth) / trials

    total = variance(said, n) + theta**2 * variance(se, judge.positives)
    total += (1 - theta) ** 2 * variance(sp, judge.negatives)
    half = float(scipy.stats.norm.ppf((1 + level) / 2)) * sqrt(total) / j
    return Estimate(
        value=theta,
        low=max(theta - half, 0.0),
        high=min(theta + half, 1.0),
        level=level,
        n=n,
        clusters=n,
        method=method,
    )


def homogeneity(
    judged: Sequence[bool],
    truth: Sequence[bool],
    policy: Sequence[str],
    *,
    rng: np.random.Generator,
    shuffles: int = 2000,
) -> float | None:
    """Test whether Se and Sp are the same for every policy; None if only one policy has labels.

    Returns the p-value of a permutation test of the chi-square over policies, separately for
    successes and failures, with Bonferroni over the two. Counts per policy are too small for the
    asymptotic distribution.
    """
    says, is_ = np.asarray(judged, dtype=float), np.asarray(truth, dtype=bool)
    names = np.asarray(policy)
    found = []
    for part in (is_, ~is_):
        who, said = names[part], says[part]
        groups, index = np.unique(who, return_inverse=True)
        if len(groups) < 2:
            continue
        size = np.bincount(index).astype(float)
        seen = _chi_square(said[None], index, size)[0]
        orders = rng.permuted(np.tile(said, (shuffles, 1)), axis=1)
        extreme = int((_chi_square(orders, index, size) >= seen - 1e-9).sum())
        found.append((1 + extreme) / (1 + shuffles))
    return min(1.0, len(found) * min(found)) if found else None


def judge_findings(
    judge: Confusion, homogeneity_p: float | None = None, *, level: float = 0.95
) -> list[Finding]:
    """Refusal 3, computed from the judge's confusion matrix."""
    return findings.judge_uninformative(informativeness(judge, level=level), homogeneity_p)


def _chi_square(
    said: Float[Array, "b n"], index: Array, size: Float[Array, " g"]
) -> Float[Array, " b"]:
    """Compute sum_g n_g (p_g - p)^2: chi-square up to a factor that permutation does not change."""
    member = index[:, None] == np.arange(len(size))
    return ((said @ member / size - said.mean(axis=1, keepdims=True)) ** 2 * size).sum(axis=1)
