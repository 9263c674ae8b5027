"""Findings: claims that the numbers do not support. Each one is produced by a pure function."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt

from worldeval.stats.estimate import Estimate
from worldeval.stats.paired import Comparison

INFORMATIVENESS = 0.2  # smallest lower bound of Se + Sp - 1 at which a judge is used
FALSE_SUCCESS = 0.3  # largest upper bound of the share of replayed failures judged as success
UNTRUSTED = 0.2  # largest acceptable share of rollouts in which trust was lost
DEGENERATE = 1e-12
BIAS = 0.1  # mean error of a task's rates over policies, from which the task is reported
CARRIED = 0.5  # smallest share of r that must remain among the better half of the policies


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A claim that the numbers do not support, with a code and an explanation."""

    code: str
    severity: str  # 'refusal': a claim is withheld; 'warning': read with care
    text: str

    def to_json(self) -> dict[str, str]:
        """Return code, severity and text as plain data."""
        return asdict(self)


def not_separated(comparisons: Sequence[Comparison]) -> list[Finding]:
    """Refusal 1: pairs that are statistically tied, and the starts needed to separate them."""
    tied = [c for c in comparisons if not c.separated]
    if not tied:
        return []
    if len(tied) == len(comparisons):
        severity = "refusal"
        what = "All policies are statistically tied: do not read this table as a ranking."
    else:
        severity = "warning"
        what = (
            f"{len(tied)} of {len(comparisons)} pairs are statistically tied; the order of "
            "policies that share a letter is not established."
        )
    known = [c for c in tied if c.needed is not None]
    hopeless = [c for c in tied if c.needed_trials is not None]
    if hopeless and not known:
        easiest = min(hopeless, key=lambda c: c.needed_trials or 0)
        what += (
            " More imagined starts cannot separate them, because the error of an imagined rate is "
            "shared by all episodes of a policy. Closest to being separated: "
            f"{easiest.first} and {easiest.second}, with about "
            f"{easiest.needed_trials:,} measured trials of each."
        )
    elif known:
        easiest = min(known, key=lambda c: c.needed or 0)
        what += (
            f" Closest to being separated: {easiest.first} and {easiest.second} "
            f"({easiest.difference.n} shared starts now, about {easiest.needed:,} needed if the "
            f"true difference is {abs(easiest.difference.value or 0):.3f}, as observed)."
        )
    return [Finding(code="cannot_be_told_apart", severity=severity, text=what)]


def leader_not_separated(
    comparisons: Sequence[Comparison], leader: str, *, best: float | None = None
) -> list[Finding]:
    """Refusal 1 for the leader: policies that are statistically tied with it.

    Args:
        best: the leader's probability of being best, which may be high even if it is tied.
    """
    rivals = [
        c.second if c.first == leader else c.first
        for c in comparisons
        if not c.separated and leader in (c.first, c.second)
    ]
    if not rivals:
        return []
    shown = ", ".join(rivals[:3]) + (", ..." if len(rivals) > 3 else "")
    beside = (
        ""
        if best is None
        else f"Its P(best) of {best:.2f} is the share of posterior draws in which it has the "
        "highest rate; this alone does not separate it from the others."
    )
    return [
        Finding(
            code="leader_not_separated",
            severity="warning",
            text=f"{leader} leads, but is statistically tied with {len(rivals)} "
            f"other{'s' if len(rivals) > 1 else ''} ({shown}). {beside}".strip(),
        )
    ]


def no_truth(validated: bool) -> list[Finding]:
    """Refusal 2: predicted rates that were never compared with measured outcomes."""
    if validated:
        return []
    return [
        Finding(
            code="no_paired_truth",
            severity="refusal",
            text="These predictions have not been compared with measured outcomes, so treat the "
            "ranking as a hypothesis and do not quote its rates. Provide measured outcomes of at "
            "least five of these policies.",
        )
    ]


def judge_uncalibrated(uncalibrated: bool) -> list[Finding]:
    """Refuse absolute rates of a judge that was never compared with recorded failures."""
    if not uncalibrated:
        return []
    return [
        Finding(
            code="judge_uncalibrated",
            severity="refusal",
            text="The judge was never compared with recorded failures (those it learned from were "
            "invented, or it is a judge of frames without calibration=), so its rates are "
            "uncalibrated. Read the order as a hypothesis and do not quote any rate. Train a judge "
            "with roll-outs that fail, or correct a judge of frames with labels: worldeval judge "
            "calibrate --labels.",
        )
    ]


def judge_uninformative(
    informativeness: Estimate,
    homogeneity_p: float | None,
    *,
    alpha: float = 0.05,
    measured: bool = False,
) -> list[Finding]:
    """Refusal 3: a judge that barely beats chance, or whose errors depend on the policy.

    Args:
        informativeness: sensitivity + specificity - 1 of the judge.
        homogeneity_p: p-value that the judge errs alike on every policy; None if unknown.
        alpha: level below which `homogeneity_p` is reported.
        measured: the predicted order of these policies was compared with measured outcomes.
            Errors that depend on the policy then affect single rates only, and are a warning.
    """
    found = []
    if informativeness.low is None or informativeness.low <= INFORMATIVENESS:
        found.append(
            Finding(
                code="judge_uninformative",
                severity="refusal",
                text=f"The judge's informativeness (sensitivity + specificity - 1) is "
                f"{informativeness}; its lower bound must exceed {INFORMATIVENESS}. "
                "Label more clips, or improve the judge.",
            )
        )
    if homogeneity_p is not None and homogeneity_p <= alpha:
        text = f"The judge's error rates differ between policies (p = {homogeneity_p:.2g}): "
        if measured:
            text += (
                "rely on the measured agreement for the order, and do not treat a single rate, or "
                "a small difference between two rates, as a measurement."
            )
        else:
            text += (
                "corrected rates cannot be compared. Calibrate the judge per policy, or use "
                "measured outcomes."
            )
        found.append(
            Finding(
                code="judge_differs_by_policy",
                severity="warning" if measured else "refusal",
                text=text,
            )
        )
    return found


def imagination_unhelpful(rho: float | None, n: int) -> list[Finding]:
    """Refusal 4: imagined outcomes that correlate too weakly to add to n real trials."""
    threshold = 1 / sqrt(n - 2) if n > 2 else 1.0
    if rho is not None and rho > threshold:
        return []
    seen = "is undefined" if rho is None else f"is {rho:.2f}"
    return [
        Finding(
            code="real_trials_only",
            severity="refusal",
            text=f"The correlation of imagined and real outcomes from the same start {seen}; it "
            f"must exceed {threshold:.2f} = 1/sqrt(n - 2) for n = {n} pairs. The rate therefore "
            "uses real trials only.",
        )
    ]


def untrustworthy(
    *, false_success: Estimate | None = None, untrusted: float | None = None
) -> list[Finding]:
    """Refusal 5: an optimistic world model, or too many rollouts that it cannot predict."""
    found = []
    if false_success is not None and (
        false_success.high is None or false_success.high > FALSE_SUCCESS
    ):
        found.append(
            Finding(
                code="false_success",
                severity="refusal",
                text="The share of recorded failures that are judged as success when replayed is "
                f"{false_success} (n = {false_success.n}); its upper bound must not exceed "
                f"{FALSE_SUCCESS}.",
            )
        )
    if untrusted is not None and untrusted > UNTRUSTED:
        found.append(
            Finding(
                code="untrusted_rollouts",
                severity="refusal",
                text=f"{untrusted:.0%} of the imagined rollouts left the region in which the world "
                f"model can be trusted; at most {UNTRUSTED:.0%} is acceptable.",
            )
        )
    return found


def never_validated(
    *,
    lineages: Collection[str],
    tasks: Collection[str],
    validated_lineages: Collection[str],
    validated_tasks: Collection[str],
) -> list[Finding]:
    """Refusal 6: lineages or tasks whose predictions were never compared with outcomes."""
    found = []
    for what, asked, known in (
        ("lineage", lineages, validated_lineages),
        ("task", tasks, validated_tasks),
    ):
        new = [name for name in asked if name not in known]
        if new:
            found.append(
                Finding(
                    code=f"unvalidated_{what}",
                    severity="warning",
                    text=f"Never compared with measured outcomes: {what} {', '.join(new)}.",
                )
            )
    return found


def constant_side(predicted: Collection[float], real: Collection[float]) -> list[Finding]:
    """Refusal 7: rates that are all the same, with which no correlation is defined."""
    found = []
    for side, values in (("predicted", predicted), ("real", real)):
        if len(values) and max(values) - min(values) < DEGENERATE:
            found.append(
                Finding(
                    code="correlation_undefined",
                    severity="refusal",
                    text=f"Every policy has the same {side} rate ({max(values):.3f}), so the "
                    "correlation is undefined and there is nothing to rank.",
                )
            )
    return found


def chance_agreement(
    spearman: Estimate, p: float | None, floor: float | None, *, alpha: float
) -> list[Finding]:
    """Failed validation: a predicted order that is not shown to be better than a random one.

    Args:
        spearman: rank correlation of predicted and measured rates.
        p: its permutation p-value.
        floor: the smallest p possible with this number of policies. If it exceeds alpha, the data
            can neither confirm nor refute the predicted order.
        alpha: significance level.
    """
    if floor is not None and floor > alpha:
        return [
            Finding(
                code="too_few_to_tell",
                severity="refusal",
                text=f"{spearman.n} policies are too few to test the predicted order: even a "
                f"perfect order would have p = {floor:.2g}. Provide measured outcomes of at least "
                "5 policies.",
            )
        ]
    if p is None or (p <= alpha and (spearman.low is None or spearman.low > 0)):
        return []
    return [
        Finding(
            code="no_better_than_chance",
            severity="refusal",
            text=f"Over {spearman.n} policies, the predicted order does not agree with the "
            f"measured order better than chance (Spearman {spearman}, permutation p = {p:.3g}). "
            "Do not select policies by these predictions.",
        )
    ]


def weak_policies_carry_r(pearson: float, strong: Estimate) -> list[Finding]:
    """A correlation that comes mostly from weak policies and is low among strong ones."""
    if strong.value is None or not pearson > 0 or strong.value >= CARRIED * pearson:
        return []
    return [
        Finding(
            code="weak_policies_carry_r",
            severity="warning",
            text=f"Pearson's r of {pearson:.2f} comes mostly from weak policies: among the "
            f"{strong.n} above the median measured rate it is {strong}. Comparisons between good "
            "policies are less certain than r suggests.",
        )
    ]


def task_biased(
    bias: Mapping[str, Estimate], predicted: Sequence[float], real: Sequence[float]
) -> list[Finding]:
    """Tasks whose predicted rates are too high or too low on average over the policies.

    Agreement and order can still be right, because the bias is common to all policies.
    """
    found = [
        (abs(one.value or 0.0), task, s, r)
        for (task, one), s, r in zip(bias.items(), predicted, real, strict=True)
        if abs(one.value or 0.0) >= BIAS and ((one.low or 0.0) > 0 or (one.high or 0.0) < 0)
    ]
    if not found:
        return []
    _, task, s, r = max(found)
    others = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return [
        Finding(
            code="task_biased",
            severity="warning",
            text=f"Predicted rates on {task}{others} are biased: {s:.2f} on average over the "
            f"policies, against {r:.2f} measured (difference {bias[task]}). Do not "
            "quote them; correct the judge with `worldeval judge calibrate`.",
        )
    ]


def first_line(findings: Sequence[Finding]) -> str | None:
    """Return the headline to print above the table if a claim is withheld, or else None."""
    refused = [finding for finding in findings if finding.severity == "refusal"]
    return f"NOT A RANKING ({refused[0].code}): {refused[0].text}" if refused else None
