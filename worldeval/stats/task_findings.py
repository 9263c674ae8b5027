"""Findings about single tasks, and about imagination as a whole: whether it tells anything here."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from worldeval.axes import Array, Float
from worldeval.stats.estimate import Estimate
from worldeval.stats.findings import Finding
from worldeval.stats.outcomes import Outcomes
from worldeval.stats.units import units

SPREAD = 0.5  # least share of the rates' variance on a task that is due to the policies
FEWEST = 3  # policies whose rates can be said to spread
SHOWN_CONTRAST = 0.5  # least share of the objects' contrast that a tokenizer must keep
SMALLEST = 12.0  # pixels of all views below which an object is too small
BASELINES = {"log_validation_mse": "log validation error", "validation_mse": "validation error"}


def not_beyond_validation(beyond: Mapping[str, Mapping[str, Estimate]]) -> list[Finding]:
    """Report that imagination is not shown to rank these policies better than validation error.

    Args:
        beyond: baseline -> measure -> agreement of imagination minus that of the baseline
            (`baselines.baseline_difference`). Larger Pearson and Spearman are better.
    """
    found = []
    for name, words in BASELINES.items():
        gain = beyond.get(name)
        if gain is None:
            continue
        shown = [gain[key] for key in ("pearson", "spearman") if gain[key].low is not None]
        if any((each.low or 0.0) > 0 for each in shown):
            continue
        found.append(
            Finding(
                code="not_beyond_validation",
                severity="warning",
                text=f"Imagination is not shown to rank these policies better than {words} does: "
                f"its Pearson is {gain['pearson']} higher, its Spearman {gain['spearman']}. If "
                f"{words} is known, it may serve as well; measure more policies, of lineages that "
                "it misleads on.",
            )
        )
    return found[:1]  # the second baseline has the same order


def rates_do_not_spread(outcomes: Outcomes, *, measured: bool) -> list[Finding]:
    """Report tasks on which the policies' rates differ no more than these starts can tell.

    The variance of the rates on a task is that of the true rates plus the noise of n starts, which
    is the mean squared interaction of policy and start over n (a two-way analysis of variance: what
    makes a start hard for all policies does not count as noise). A task is reported if the policies
    account for less than `SPREAD` of the variance.

    Args:
        measured: whether the outcomes were measured, or else predicted.
    """
    table = units(outcomes)
    if len(table.policies) < FEWEST:
        return []
    weak = []
    for index, task in enumerate(table.tasks):
        rates, noise = table.cells[:, index], _noise(table.mean[:, index])
        variance = float(rates.var(ddof=1))
        share = max(0.0, 1 - noise / variance) if variance > 0 else 0.0
        if share < SPREAD:
            weak.append((share, task, rates))
    if not weak:
        return []
    share, task, rates = min(weak, key=lambda each: each[0])
    others = f" and {len(weak) - 1} more" if len(weak) > 1 else ""
    side = "measured" if measured else "predicted"
    return [
        Finding(
            code="rates_do_not_spread",
            severity="warning",
            text=f"On {task}{others}, the {side} rates of the policies hardly differ "
            f"({rates.min():.2f} to {rates.max():.2f}): {share:.0%} of their variance is due to "
            f"the policies, the rest to the choice of starts (at least {SPREAD:.0%} is needed). "
            "Their order on this task means little. Take more starts, or policies and starts of "
            "which more fail and succeed.",
        )
    ]


def objects_unclear(objects: Mapping[str, Mapping[str, Any]], tasks: list[str]) -> list[Finding]:
    """Report tasks whose objects the world model cannot show, so that no judge can see them.

    Args:
        objects: task -> `kept` (mean share of the objects' contrast that decoding keeps, with its
            interval, or None) and `pixels`, as a world's card has them.
        tasks: the tasks that are ranked.
    """
    reasons = {}
    for task in tasks:
        known = objects.get(task)
        if known is None:
            continue
        kept, pixels = known.get("kept"), float(known.get("pixels") or 0.0)
        if kept is None:
            reasons[task] = (
                "nothing in its start frames is seen to differ between episodes; an object that "
                "lies elsewhere every time is too small or too pale at this image size"
            )
        elif pixels < SMALLEST:
            reasons[task] = f"its objects cover {pixels:.0f} pixels"
        elif kept["value"] < SHOWN_CONTRAST:
            low, high = kept["low"], kept["high"]
            shown = f"{kept['value']:.2f}" + (f" [{low:.2f}, {high:.2f}]" if high else "")
            reasons[task] = f"its tokenizer keeps {shown} of the objects' contrast"
    if not reasons:
        return []
    task, why = next(iter(reasons.items()))
    others = f" ({', '.join(list(reasons)[1:])} too)" if len(reasons) > 1 else ""
    return [
        Finding(
            code="object_unclear",
            severity="warning",
            text=f"The world model cannot show the objects of {task}{others} clearly: {why}. "
            "Nobody can judge what is not shown. Train with larger images (size), or with "
            "nearer cameras.",
        )
    ]


def _noise(means: Float[Array, "k c"]) -> float:
    """Variance of a rate due to the choice of starts."""
    there = ~np.isnan(means)
    filled = np.where(there, means, 0.0)
    start = filled.sum(0) / np.maximum(there.sum(0), 1)
    away = np.where(there, means - start, 0.0)
    count = there.sum(1)
    policy = away.sum(1) / np.maximum(count, 1)
    left = np.where(there, away - policy[:, None], 0.0)
    policies, starts = means.shape[0], there.any(0).sum()
    freedom = max((policies - 1) * (starts - 1), 1)
    return float(np.square(left).sum() / freedom / max(np.median(count), 1))
