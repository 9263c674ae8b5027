"""The tables that `worldeval rank` prints on stdout."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from worldeval.evaluate.summary import RunSummary
    from worldeval.stats import Estimate


def print_summary(console: Console, summary: "RunSummary", cards: "pd.DataFrame") -> None:
    """The ranking beside the truth, agreement beside its ceiling, gates and findings."""
    if summary.headline:
        console.print(summary.headline, style="bold red")
    console.print(ranking_table(summary, cards))
    if summary.imagined.worth_text is not None:
        console.print(summary.imagined.worth_text)
    if summary.agreement is not None:
        console.print(agreement_table(summary))
    if summary.gates is not None:
        console.print(gates_table(summary))
    for finding in summary.findings:
        style = "red" if finding.severity == "refusal" else "yellow"
        console.print(f"{finding.severity} ({finding.code}): {finding.text}", style=style)


def ranking_table(summary: "RunSummary", cards: "pd.DataFrame") -> Table:
    """A row per policy, best predicted first.

    Where it is known what an imagined rate is worth, `predicted` is the true rate with its
    predictive interval, and `as imagined` what more imagined starts would show.
    """
    known = summary.imagined.worth is not None
    what = "true rate as predicted" if known else "as imagined, not validated"
    table = Table(title=f"success: {what} [95% interval]", title_justify="left")
    table.add_column("#", justify="right")
    table.add_column("policy", no_wrap=True)
    table.add_column("predicted", justify="right", no_wrap=True)
    if known:
        table.add_column("as imagined", justify="right", no_wrap=True)
    table.add_column("tied group")
    table.add_column("P(best)", justify="right")
    true = {}
    if summary.truth is not None:
        table.add_column("simulator", justify="right", no_wrap=True)
        true = {row.policy: row.estimate for row in summary.truth.policies}
    table.add_column("validation MSE", justify="right")
    errors = cards.set_index("policy")["validation_mse"].to_dict()
    for row in summary.imagined.policies:
        cells = [
            str(row.rank),
            row.policy,
            *([_interval(row.predictive)] if row.predictive is not None else []),
            _interval(row.estimate),
            row.letters,
            f"{row.probability_best:.2f}",
        ]
        if summary.truth is not None:
            cells.append(_interval(true[row.policy]) if row.policy in true else "")
        error = errors.get(row.policy)
        cells.append("" if error is None or error != error else f"{error:.4f}")
        table.add_row(*cells)
    return table


def agreement_table(summary: "RunSummary") -> Table:
    """How far the predicted order and rates are those of the simulator."""
    agreed = summary.agreement
    assert agreed is not None
    table = Table(title="agreement with the simulator", title_justify="left")
    table.add_column("measure", no_wrap=True)
    for column in ("imagination", "noise ceiling", *_baseline_names(summary)):
        table.add_column(column, justify="right")
    rows = (
        ("Pearson", "pearson"),
        ("Spearman", "spearman"),
        ("Kendall", "kendall"),
        ("MMRV (0 is best)", "mmrv"),
        (f"pairs right (gap > {agreed.margin:g})", "pairwise_accuracy"),
        ("top-1 regret", "top1_regret"),
        ("Spearman within task", "within_task_spearman"),
        ("Spearman, truth .05-.97", "midrange_spearman"),
        ("cell error, mean", "cell_mae"),
    )
    for label, key in rows:
        ceiling = agreed.ceiling.get(key)
        others = [_number(values.get(key)) for values in summary.baselines.values()]
        table.add_row(
            label,
            _interval(getattr(agreed, key)),
            _interval(ceiling) if ceiling is not None else "",
            *others,
        )
    return table


def gates_table(summary: "RunSummary") -> Table:
    """What replaying recordings in imagination shows."""
    gates = summary.gates
    assert gates is not None
    table = Table(title="gates: recorded actions replayed in imagination", title_justify="left")
    table.add_column("what")
    table.add_column("predicted success", justify="right")
    table.add_column("episodes", justify="right")
    for label, estimate in (
        ("recorded failures", gates.false_success),
        ("recorded near misses", gates.near_miss_false_success),
        ("recorded successes", gates.true_success),
        ("fall when actions are zeroed or shuffled", gates.action_effect),
        ("sensitivity + specificity - 1 of the verdicts", gates.informativeness),
    ):
        table.add_row(label, _interval(estimate), str(estimate.n))
    return table


def _baseline_names(summary: "RunSummary") -> list[str]:
    return [name.replace("_", " ") for name in summary.baselines]


def _interval(estimate: "Estimate") -> str:
    if estimate.value is None:
        return "undefined"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
