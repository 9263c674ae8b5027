"""Figure of a validation: predicted against measured rates, pairs, and leave-one-out."""

from pathlib import Path
from typing import Any

import numpy as np

from worldeval.files import whole_file
from worldeval.stats.estimate import Estimate
from worldeval.stats.ranking import Ranking
from worldeval.stats.validation import Validation

RIGHT, WRONG, OPEN = "#2a78b5", "#d1495b", "#d9d9d9"


def draw(validation: Validation, path: Path, *, dpi: int = 130) -> Path:
    """Draw the scatter plot with both error bars and y = x, the pair matrix, and leave-one-out."""
    # The object-oriented interface keeps no global state and needs no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 5), layout="constrained")
    FigureCanvasAgg(figure)
    scatter, pairs, out = figure.subplots(1, 3)
    _scatter(scatter, validation)
    _pairs(pairs, validation)
    _leave_out(out, validation)
    if validation.headline:
        figure.suptitle(validation.headline.split(":")[0], color=WRONG)
    with whole_file(path) as draft:
        figure.savefig(draft, dpi=dpi, format="png")
    return path


def _scatter(axes: Any, validation: Validation) -> None:
    found = validation.agreement
    predicted, real = _estimates(validation.predicted), _estimates(validation.real)
    for name in found.policies:
        s, r = predicted[name], real[name]
        axes.errorbar(
            [s.value], [r.value], xerr=_bars(s), yerr=_bars(r), fmt="o", color=RIGHT, ms=4, lw=0.8
        )  # fmt: skip
    axes.plot([0, 1], [0, 1], "--", color="grey", lw=1)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    axes.set(xlabel="predicted rate", ylabel="real rate")
    axes.set_title(
        f"Pearson {found.pearson}\nSpearman {found.spearman}\nMMRV {found.mmrv}", fontsize=9
    )


def _pairs(axes: Any, validation: Validation) -> None:
    """Draw whether each pair (i, j) is predicted in its measured order, best policy first."""
    from matplotlib.colors import ListedColormap

    found = validation.agreement
    names = [row.policy for row in validation.real.policies]
    place = {name: k for k, name in enumerate(names)}
    rate = dict(zip(found.policies, found.predicted, strict=True))
    cells = np.full((len(names), len(names)), np.nan)
    for pair in validation.real.comparisons:
        i, j = place[pair.first], place[pair.second]
        # The measured order is certain only if the measured outcomes separate the pair.
        state = 0 if not pair.separated else 1 if rate[pair.first] > rate[pair.second] else 2
        cells[i, j] = cells[j, i] = state
    axes.imshow(cells, cmap=ListedColormap([OPEN, RIGHT, WRONG]), vmin=0, vmax=2)
    size = 8 if len(names) <= 20 else 4
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=size)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.set_title(
        f"pairs: right (blue), wrong (red), not separated in reality (grey)\n"
        f"pairwise accuracy above a gap of {found.margin:g}: {found.pairwise_accuracy}",
        fontsize=9,
    )


def _leave_out(axes: Any, validation: Validation) -> None:
    groups = {**validation.without_policy}
    if len(validation.without_lineage) < len(validation.without_policy):
        groups |= {f"lineage {k}": v for k, v in validation.without_lineage.items()}
    for row, measured in enumerate(groups.values()):
        for key, colour, mark in (("pearson", RIGHT, "o"), ("spearman", "#3a9679", "s")):
            value = measured[key]
            if value is not None:
                axes.plot([value], [row], mark, color=colour, ms=4)
    for key, colour in (("pearson", RIGHT), ("spearman", "#3a9679")):
        value = getattr(validation.agreement, key).value
        if value is not None:
            axes.axvline(value, color=colour, lw=1, label=f"{key}, all policies")
    axes.set_yticks(range(len(groups)), list(groups), fontsize=7)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_xlabel("correlation")
    axes.set_title("without ...", fontsize=9)
    if axes.get_legend_handles_labels()[0]:
        # Below the axis, because inside it would cover the points of some runs.
        axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)


def _estimates(ranking: Ranking) -> dict[str, Estimate]:
    return {row.policy: row.estimate for row in ranking.policies}


def _bars(estimate: Estimate) -> list[list[float]]:
    value, low, high = (x or 0.0 for x in (estimate.value, estimate.low, estimate.high))
    return [[value - low], [high - value]]
