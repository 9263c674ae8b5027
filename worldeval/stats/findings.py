"""What the platform refuses to claim, and says instead. Each refusal is a pure function."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt

from worldeval.stats.estimate import Estimate
from worldeval.stats.paired import Comparison

INFORMATIVENESS = 0.2  # least lower bound of Se + Sp - 1 of a judge that may speak
FALSE_SUCCESS = 0.3  # largest upper bound of replayed failures that come out as success
UNTRUSTED = 0.2  # largest share of rollouts in which trust was lost
DEGENERATE = 1e-12
BIAS = 0.1  # mean error of a task's rates over policies from which it is named
CARRIED = 0.5  # of r: what is left of it among the better half of the policies


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A named statement about what the numbers do not support."""

    code: str
    severity: str  # 'refusal': a claim is withheld; 'warning': read with care
    text: str

    def to_json(self) -> dict[str, str]:
        """code, severity, text."""
        return asdict(self)


def not_separated(comparisons: Sequence[Comparison]) -> list[Finding]:
    """Refusal 1: pairs that cannot be told apart, and the starts that would tell."""
    tied = [c for c in comparisons if not c.separated]
    if not tied:
        return []
    if len(tied) == len(comparisons):
        severity = "refusal"
        what = "No two policies can be told apart: this may not be read as a ranking."
    else:
        severity = "warning"
        what = (
            f"{len(tied)} of {len(comparisons)} pairs cannot be told apart; policies that "
            "share a letter are not ordered."
        )
    known = [c for c in tied if c.needed is not None]
    hopeless = [c for c in tied if c.needed_trials is not None]
    if hopeless and not known:
        easiest = min(hopeless, key=lambda c: c.needed_trials or 0)
        what += (
            " No number of imagined starts can tell them: imagined rates err for a whole policy at "
            f"once. Closest to being separated: {easiest.first} and {easiest.second}, by about "
            f"{easiest.needed_trials:,} real trials of each."
        )
    elif known:
        easiest = min(known, key=lambda c: c.needed or 0)
        what += (
            f" Closest to being separated: {easiest.first} and {easiest.second} "
            f"({easiest.difference.n} shared starts now, about {easiest.needed:,} needed if they "
            f"differ by {abs(easiest.difference.value or 0):.3f} as seen)."
        )
    return [Finding(code="cannot_be_told_apart", severity=severity, text=what)]


def leader_not_separated(
    comparisons: Sequence[Comparison], leader: str, *, best: float | None = None
) -> list[Finding]:
    """Refusal 1, for the question most asked: is the first really the best?

    `best`: its probability of being so, which may be high where nothing is shown.
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
        else f"P(best) of {best:.2f} is the share of likely rates in which it comes first; it does "
        "not separate it from them."
    )
    return [
        Finding(
            code="leader_not_separated",
            severity="warning",
            text=f"{leader} leads, but cannot be told apart from {len(rivals)} "
            f"other{'s' if len(rivals) > 1 else ''} ({shown}). {beside}".strip(),
        )
    ]


def no_truth(validated: bool) -> list[Finding]:
    """Refusal 2: without paired truth this is a hypothesis, and its rates mean nothing alone."""
    if validated:
        return []
    return [
        Finding(
            code="no_paired_truth",
            severity="refusal",
            text="A ranking hypothesis: no real outcome was compared with these numbers, so their "
            "absolute rates must not be quoted. Give real trials of at least five of these "
            "policies.",
        )
    ]


def judge_uninformative(
    informativeness: Estimate,
    homogeneity_p: float | None,
    *,
    alpha: float = 0.05,
    measured: bool = False,
) -> list[Finding]:
    """Refusal 3: a judge that hardly separates, or whose errors depend on the policy.

    `measured`: the order of these very policies was compared with truth. Errors that differ
    then concern single rates, and are a warning.
    """
    found = []
    if informativeness.low is None or informativeness.low <= INFORMATIVENESS:
        found.append(
            Finding(
                code="judge_uninformative",
                severity="refusal",
                text=f"The judge's informativeness (sensitivity + specificity - 1) is "
                f"{informativeness}; its lower bound must exceed {INFORMATIVENESS}. "
                "Label more clips or improve the judge.",
            )
        )
    if homogeneity_p is not None and homogeneity_p <= alpha:
        text = f"The judge errs differently on different policies (p = {homogeneity_p:.2g}): "
        if measured:
            text += (
                "the agreement says how far the order holds; do not read one policy's rate, "
                "or a small difference of two, as if it were measured."
            )
        else:
            text += (
                "its correction does not hold for a comparison. Calibrate per policy, or use "
                "real outcomes."
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
    """Refusal 4: imagined outcomes that correlate too little to add to n real ones."""
    threshold = 1 / sqrt(n - 2) if n > 2 else 1.0
    if rho is not None and rho > threshold:
        return []
    seen = "is undefined" if rho is None else f"is {rho:.2f}"
    return [
        Finding(
            code="real_trials_only",
            severity="refusal",
            text=f"Imagined and real outcomes from the same start: their correlation {seen}, not "
            f"above {threshold:.2f} = 1/sqrt(n - 2) for n = {n}. The rate uses real trials only.",
        )
    ]


def untrustworthy(
    *, false_success: Estimate | None = None, untrusted: float | None = None
) -> list[Finding]:
    """Refusal 5: an optimistic world model, or too many rollouts that left what it knows."""
    found = []
    if false_success is not None and (
        false_success.high is None or false_success.high > FALSE_SUCCESS
    ):
        found.append(
            Finding(
                code="false_success",
                severity="refusal",
                text=f"Replayed failures come out as success at a rate of {false_success} "
                f"(n = {false_success.n}); its upper bound must not exceed {FALSE_SUCCESS}.",
            )
        )
    if untrusted is not None and untrusted > UNTRUSTED:
        found.append(
            Finding(
                code="untrusted_rollouts",
                severity="refusal",
                text=f"Trust was lost in {untrusted:.0%} of the imagined rollouts; at most "
                f"{UNTRUSTED:.0%} is acceptable.",
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
    """Refusal 6: lineages or tasks of which no real outcome was ever compared."""
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
                    text=f"Never compared with truth: {what} {', '.join(new)}.",
                )
            )
    return found


def constant_side(predicted: Collection[float], real: Collection[float]) -> list[Finding]:
    """Refusal 7: a correlation with a constant is undefined."""
    found = []
    for side, values in (("predicted", predicted), ("real", real)):
        if len(values) and max(values) - min(values) < DEGENERATE:
            found.append(
                Finding(
                    code="correlation_undefined",
                    severity="refusal",
                    text=f"Every policy has the same {side} rate ({max(values):.3f}): no "
                    "correlation is defined, and there is nothing to rank.",
                )
            )
    return found


def chance_agreement(
    spearman: Estimate, p: float | None, floor: float | None, *, alpha: float
) -> list[Finding]:
    """Validation failed: the predicted order is not shown to be better than a random one.

    `floor`: the least p that so many policies can have. Where that is above alpha, the order is
    neither shown to be right nor to be wrong.
    """
    if floor is not None and floor > alpha:
        return [
            Finding(
                code="too_few_to_tell",
                severity="refusal",
                text=f"{spearman.n} policies are too few to tell whether the predicted order is "
                f"right: even the right one would come about by chance with p = {floor:.2g}. Give "
                "real outcomes of at least 5.",
            )
        ]
    if p is None or (p <= alpha and (spearman.low is None or spearman.low > 0)):
        return []
    return [
        Finding(
            code="no_better_than_chance",
            severity="refusal",
            text=f"Over {spearman.n} policies the predicted order is not shown to agree with the "
            f"real one better than chance (Spearman {spearman}, permutation p = {p:.3g}): "
            "do not choose by these predictions.",
        )
    ]


def weak_policies_carry_r(pearson: float, strong: Estimate) -> list[Finding]:
    """A correlation that tells bad policies from good ones, and good ones hardly apart."""
    if strong.value is None or not pearson > 0 or strong.value >= CARRIED * pearson:
        return []
    return [
        Finding(
            code="weak_policies_carry_r",
            severity="warning",
            text=f"Pearson's r of {pearson:.2f} comes mostly from weak policies: among the "
            f"{strong.n} above the median true rate it is {strong}. Telling a good policy from a "
            "better one is less certain than r suggests.",
        )
    ]


def task_biased(
    bias: Mapping[str, Estimate], predicted: Sequence[float], real: Sequence[float]
) -> list[Finding]:
    """Tasks whose rates are predicted too high or too low for all policies together.

    Gates and order can be right nonetheless, since a bias is common to the policies.
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
            text=f"Rates on {task}{others} are off for all policies together: predicted {s:.2f} on "
            f"average, measured {r:.2f} (interval of the difference {bias[task]}). Do not read "
            "rates on it as measured; correct the judge (`worldeval judge calibrate`).",
        )
    ]


def first_line(findings: Sequence[Finding]) -> str | None:
    """What must stand above the table when a claim is withheld; None when nothing is."""
    refused = [finding for finding in findings if finding.severity == "refusal"]
    return f"NOT A RANKING ({refused[0].code}): {refused[0].text}" if refused else None
