# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportGeneralTypeIssues=false, reportCallIssue=false
"""A run's summary as tables: data frames, text for a terminal, HTML for a notebook."""

from collections.abc import Iterator
from html import escape
from io import StringIO
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from worldeval.api.fitted import Column, FittedTable
from worldeval.runs.summary import RankingSummary, Summary
from worldeval.stats import Estimate, Finding

if TYPE_CHECKING:
    from worldeval.api.result import Result

WIDTH = 120  # of text that is not printed to a terminal
MEASURES = {
    "pearson": "Pearson",
    "pearson_strong": "  above the median measured rate",
    "spearman": "Spearman",
    "kendall": "Kendall",
    "mmrv": "MMRV (0 is best)",
    "pairwise_accuracy": "pairs ordered correctly",
    "top1_regret": "top-1 regret",
    "within_task_spearman": "Spearman within a task",
    "midrange_spearman": "Spearman, measured .05-.97",
    "cell_mae": "error of a policy on a task",
}
MEASURED = ("measured", "measured_low", "measured_high")
GATES = {
    "false_success": "recorded failures",
    "near_miss_false_success": "recorded near misses",
    "true_success": "recorded successes",
    "action_effect": "drop in success when actions are zeroed or shuffled",
    "informativeness": "sensitivity + specificity - 1 of the verdicts",
}


def policies(summary: Summary, cards: pd.DataFrame | None) -> pd.DataFrame:
    """Tabulate the policies, best first; see `Result.policies`."""
    ranking = summary.ranking
    assert ranking is not None
    tied = _tied(ranking)
    table = pd.DataFrame(
        {
            "rank": row.rank,
            "policy": row.policy,
            "lineage": row.lineage,
            "step": row.step,
            "predicted": row.value,
            "low": row.low,
            "high": row.high,
            "tied_with": tied[row.policy],
            "tied_group": row.letters,
            "p_best": row.probability_best,
            "episodes": row.n,
        }
        for row in ranking.policies
    )
    if ranking.worth is not None:
        fitted = [row.predictive or row.estimate for row in ranking.policies]
        for column in ("predicted", "low", "high"):
            table.insert(list(table).index("tied_with"), f"imagined_{column}", table[column])
        for column, key in (("predicted", "value"), ("low", "low"), ("high", "high")):
            table[column] = [getattr(one, key) for one in fitted]
        table = table.rename(columns={"imagined_predicted": "imagined"})
    if summary.truth is not None:
        measured = {row.policy: row for row in summary.truth.policies}
        for column, key in (
            ("measured", "value"),
            ("measured_low", "low"),
            ("measured_high", "high"),
        ):
            table[column] = [getattr(measured.get(name), key, None) for name in table["policy"]]
    if cards is not None and cards["validation_mse"].notna().any():
        errors = dict(zip(cards["policy"], cards["validation_mse"], strict=True))
        table["validation_mse"] = [errors.get(name) for name in table["policy"]]
    return table


def rates(episodes: pd.DataFrame) -> pd.DataFrame:
    """Tabulate the mean prediction of every policy, for episodes that were not ranked."""
    if episodes.empty:
        return pd.DataFrame(columns=["policy", "predicted", "episodes"])
    cells = episodes.groupby(["policy", "task"])["score"].mean().reset_index()
    table = cells.groupby("policy")["score"].mean().rename("predicted").reset_index()
    counts = episodes["policy"].value_counts()
    table["episodes"] = [int(counts[name]) for name in table["policy"]]
    return table.sort_values("predicted", ascending=False, ignore_index=True)


def task_rates(episodes: pd.DataFrame, column: str) -> pd.DataFrame:
    """Tabulate the mean of a column for every policy and task: policy, task, rate, episodes."""
    if episodes.empty:
        return pd.DataFrame(columns=["policy", "task", "rate", "episodes"])
    cells = episodes.groupby(["policy", "task"])[column]
    return cells.agg(rate="mean", episodes="count").reset_index()


def agreement(summary: Summary) -> pd.DataFrame | None:
    """Tabulate the measures of agreement with ceilings and baselines; None if there are none."""
    if summary.agreement is None:
        return None
    rows = {}
    for key in MEASURES:
        found = getattr(summary.agreement, key, None)
        if found is None:
            found = getattr(summary.agreement_details, key, None)
        if found is None:
            continue
        ceiling = summary.agreement.ceiling.get(key)
        graded = summary.agreement.ceiling_graded.get(key)
        rows[key] = {
            **found.to_json(),
            "ceiling": ceiling.value if ceiling else None,
            "ceiling_low": ceiling.low if ceiling else None,
            "ceiling_high": ceiling.high if ceiling else None,
            "ceiling_graded": graded.value if graded else None,
            **{name: values.get(key) for name, values in summary.baselines.items()},
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("measure")


def gates(summary: Summary) -> pd.DataFrame | None:
    """Tabulate the gates; None if there are none."""
    if not summary.gates:
        return None
    rows = {
        key: {**summary.gates[key].to_json(), "episodes": summary.gates[key].n}
        for key in GATES
        if key in summary.gates
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("gate")


def renderables(result: "Result") -> Iterator[RenderableType]:
    """Yield a result for a terminal: caveats, ranking, agreement, combined rates and gates."""
    summary = result.summary
    if summary is None or summary.ranking is None:
        yield _rates_table(result.policies if not result.episodes.empty else result.simulated)
        return
    if result.headline:
        yield Text(result.headline, style="bold red")
    yield ranking_table(result)
    if summary.ranking.worth_text is not None:
        yield Text(summary.ranking.worth_text)
    if summary.agreement is not None:
        yield agreement_table(summary, result.agreement)
    if summary.beyond_baselines:
        yield difference_table(summary)
    if summary.shrunk:
        yield combined_table(summary)
    if result.gates is not None:
        yield gates_table(summary)
    yield from people_lines(summary)
    for finding in result.findings:
        yield _line(finding)
    for policy, error in result.errors.items():
        yield Text(_broken(policy, error), style="yellow")


def people_lines(summary: Summary) -> Iterator[Text]:
    """Say how far the people agree whose labels are the judge."""
    for pair in (summary.judge.people if summary.judge else None) or ():
        yield Text(
            f"{pair.one} and {pair.other} agree on {pair.equal} of {pair.episodes} episodes; "
            f"Cohen's kappa {pair.kappa}"
        )


def ranking_table(result: "Result") -> FittedTable:
    """Build the table of policies, best predicted first.

    If it is known how imagined rates relate to true rates, `predicted` is the true rate with its
    predictive interval, and `as imagined` is the rate in imagination. Rank, policy, prediction and
    tied group are always shown; a narrow terminal gets as many as fit of the measured rate,
    P(best), the rate as imagined and the validation MSE, in this order.
    """
    rows = result.policies
    known = "imagined" in rows
    what = "true rate as predicted" if known else "as imagined, not validated"
    records = rows.to_dict("records")

    def rates(value: str, low: str, high: str) -> tuple[str, ...]:
        return tuple(
            "" if value == "measured" and _missing(row[value]) else
            _interval(row[value], row[low], row[high])
            for row in records
        )  # fmt: skip

    def numbers(name: str, digits: int) -> tuple[str, ...]:
        return tuple(_number(row[name], digits) for row in records)

    columns = [
        Column(title="#", cells=tuple(str(row["rank"]) for row in records)),
        Column(title="policy", cells=tuple(rows["policy"]), right=False, names=True),
        Column(title="predicted", cells=rates("predicted", "low", "high")),
        Column(title="tied group", cells=tuple(rows["tied_group"]), right=False),
        Column(title="P(best)", cells=numbers("p_best", 2), order=2),
    ]
    if known:
        cells = rates("imagined", "imagined_low", "imagined_high")
        columns.insert(3, Column(title="as imagined", cells=cells, order=3))
    if "measured" in rows:
        columns.append(Column(title="measured", cells=rates(*MEASURED), order=1))
    if "validation_mse" in rows:
        cells = numbers("validation_mse", 4)
        columns.append(Column(title="validation MSE", cells=cells, order=4))
    return FittedTable(title=f"success: {what} [95% interval]", columns=tuple(columns))


def agreement_table(summary: Summary, found: pd.DataFrame | None) -> FittedTable:
    """Build the table of agreement between predicted and measured order and rates.

    A narrow terminal gets as many of the columns as fit, from the left.
    """
    assert found is not None and summary.agreement is not None
    details = summary.agreement_details
    margin = details.margin if details is not None else None
    labels, own, ceilings = [], [], []
    for key, row in found.to_dict("index").items():
        label = MEASURES[str(key)]
        if key == "pairwise_accuracy" and margin is not None:
            label = f"{label} (gap > {margin:g})"
        labels.append(label)
        own.append(_interval(row["value"], row["low"], row["high"]))
        known = (row["ceiling"], row["ceiling_low"], row["ceiling_high"])
        ceilings.append("" if _missing(row["ceiling"]) else _interval(*known))
    columns = [
        Column(title="measure", cells=tuple(labels), right=False),
        Column(title="imagination", cells=tuple(own)),
        Column(title="perfect binary", cells=tuple(ceilings), order=1),
        Column(title="perfect graded", cells=_numbers(found["ceiling_graded"]), order=2),
    ]
    for place, name in enumerate(summary.baselines, start=3):
        title = name.replace("_", " ")
        columns.append(Column(title=title, cells=_numbers(found[name]), order=place))
    return FittedTable(title="agreement with what was measured", columns=tuple(columns))


def difference_table(summary: Summary) -> FittedTable:
    """Build the table of imagination's agreement minus that of each baseline, paired.

    A narrow terminal gets as many of the baselines as fit, from the left.
    """
    baselines = summary.beyond_baselines
    keys = dict.fromkeys(key for measures in baselines.values() for key in measures)
    labels = ("MMRV (less is better)" if key == "mmrv" else MEASURES.get(key, key) for key in keys)
    columns = [Column(title="measure", cells=tuple(labels), right=False)]
    for place, (name, measures) in enumerate(baselines.items()):
        cells = (measures.get(key) for key in keys)
        told = tuple("" if one is None else _interval(one.value, one.low, one.high)
                     for one in cells)  # fmt: skip
        columns.append(Column(title=name.replace("_", " "), cells=told, order=place))
    title = "agreement of imagination minus that of a baseline [95% interval]"
    return FittedTable(title=title, columns=tuple(columns))


def combined_table(summary: Summary) -> Table:
    """Build the table of rates that combine a policy's imagined rate with its own trials."""
    table = Table(
        title="success: imagined rate combined with the policy's own trials [95% interval]",
        title_justify="left",
    )
    table.add_column("policy", no_wrap=True)
    table.add_column("combined", justify="right", no_wrap=True)
    table.add_column("trials", justify="right")
    rates = sorted(summary.shrunk.items(), key=lambda item: -(item[1].value or 0.0))
    for name, one in rates:
        table.add_row(name, _interval(one.value, one.low, one.high), str(one.n))
    return table


def gates_table(summary: Summary) -> Table:
    """Build the table of gates from recordings replayed in imagination."""
    table = Table(title="gates: recorded actions replayed in imagination", title_justify="left")
    table.add_column("replayed")
    table.add_column("predicted success", justify="right")
    table.add_column("episodes", justify="right")
    for key, label in GATES.items():
        found: Estimate | None = summary.gates.get(key)
        if found is not None:
            table.add_row(label, _interval(found.value, found.low, found.high), str(found.n))
    return table


def as_text(result: "Result") -> str:
    """Format the result as plain text."""
    stream = StringIO()
    console = Console(file=stream, width=WIDTH, markup=False, highlight=False, no_color=True)
    for each in renderables(result):
        console.print(each)
    console.print(f"Run folder: {result.folder}", soft_wrap=True)
    return stream.getvalue().rstrip()


def as_html(result: "Result") -> str:
    """Format the result for a notebook: caveats, the table of policies, and collapsed details."""
    parts = []
    if result.headline:
        parts.append(f'<p style="color:#b3261e"><b>{escape(result.headline)}</b></p>')
    shown = [name for name in SHOWN if name in result.policies]
    parts.append(_html(result.policies[shown]) if shown else "<p>There are no episodes yet.</p>")
    for title, table in (("Agreement", result.agreement), ("Gates", result.gates)):
        if table is not None:
            parts.append(f"<details><summary>{title}</summary>{_html(table, index=True)}</details>")
    if result.findings:
        items = "".join(
            f"<li><b>{escape(each.severity)}</b> ({escape(each.code)}): {escape(each.text)}</li>"
            for each in result.findings
        )
        parts.append(f"<details open><summary>Findings</summary><ul>{items}</ul></details>")
    for policy, error in result.errors.items():
        parts.append(f"<p>{escape(_broken(policy, error))}</p>")
    return "\n".join(parts)


SHOWN = (
    "rank", "policy", "predicted", "low", "high", "tied_with", "p_best", "measured",
    "measured_low", "measured_high", "validation_mse", "episodes",
)  # fmt: skip


def _html(table: pd.DataFrame, *, index: bool = False) -> str:
    plain = table.copy()
    if "tied_with" in plain:
        plain["tied_with"] = [", ".join(names) for names in plain["tied_with"]]
    return plain.to_html(
        index=index, border=0, escape=True, na_rep="", float_format=lambda value: f"{value:.3f}"
    )


def _tied(ranking: RankingSummary) -> dict[str, list[str]]:
    """Map every policy to those that it is statistically tied with, in order of rank."""
    pairs = {frozenset((one.first, one.second)) for one in ranking.comparisons if not one.separated}
    names = [row.policy for row in ranking.policies]
    return {
        name: [other for other in names if other != name and frozenset((name, other)) in pairs]
        for name in names
    }


def _rates_table(rows: pd.DataFrame) -> Table:
    table = Table(*(str(name) for name in rows.columns), box=None)
    for row in rows.to_dict("records"):
        table.add_row(*(_cell(value) for value in row.values()))
    return table


def _broken(policy: str, error: str) -> str:
    return (
        f"{policy}: some episodes could not be completed; they are excluded, not counted as "
        f"failures: {error}"
    )


def _line(finding: Finding) -> Text:
    style = "red" if finding.severity == "refusal" else "yellow"
    return Text(f"{finding.severity} ({finding.code}): {finding.text}", style=style)


def _interval(value: Any, low: Any, high: Any) -> str:
    if _missing(value):
        return "undefined"
    if _missing(low) or _missing(high):
        return f"{value:.3f}"
    return f"{value:.3f} [{low:.2f}, {high:.2f}]"


def _numbers(values: "pd.Series") -> tuple[str, ...]:
    return tuple(_number(value, 3) for value in values)


def _number(value: Any, digits: int) -> str:
    return "" if _missing(value) else f"{value:.{digits}f}"


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _missing(value: Any) -> bool:
    return value is None or value != value
