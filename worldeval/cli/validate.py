"""`worldeval validate` and `worldeval plan`: statistics for any predictions and trials."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worldeval.cli.common import Json, Out, Seed, console, emit, log, verb

if TYPE_CHECKING:
    from rich.table import Table

    from worldeval.api.validate import Validation

Level = Annotated[float, typer.Option("--level", help="Coverage of every interval.")]

TABLES, METHOD, COMPARISON = "Tables", "Method", "What is compared"


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    verb(
        app, "validate", validate,
        "worldeval validate --predicted predicted.csv --real real.csv",
        panels={TABLES: ("predicted", "real"), METHOD: ("margin", "level")},
    )  # fmt: skip
    verb(
        app, "plan", plan, "worldeval plan --policies 5 --gap 0.1 --rho 0.6",
        panels={COMPARISON: ("policies", "gap", "rate", "rho", "cost_ratio"),
                METHOD: ("power", "level", "test")},
    )  # fmt: skip


def validate(
    predicted: Annotated[
        Path,
        typer.Option(
            "--predicted", help="CSV of predictions: policy, task, start, and score or success."
        ),
    ],
    real: Annotated[
        Path, typer.Option("--real", help="CSV of real trials: policy, task, start, success.")
    ],
    margin: Annotated[
        float,
        typer.Option(
            "--margin", help="Measured difference above which a pair must be ordered correctly."
        ),
    ] = 0.05,
    level: Level = 0.95,
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Compare predicted with measured outcomes: agreement, its noise ceiling, and refusals.

    No world model is needed; any two CSV files work (optional columns: lineage, step, seed). Writes
    agreement.json and agreement.png to OUT (by default runs/validate).
    """
    from worldeval.api.validate import validate as compare

    folder = out or Path("runs/validate")
    found = compare(predicted, real, margin=margin, level=level, out=folder, seed=seed)
    emit(found.to_json(), as_json=as_json)
    if not as_json:
        _print(found)
    log.print(f"Written: {folder}/agreement.json, {folder}/agreement.png")


def plan(
    policies: Annotated[int, typer.Option(help="Number of policies to compare.")],
    gap: Annotated[float, typer.Option(help="Smallest difference in success rate that matters.")],
    power: Annotated[float, typer.Option(help="Probability of detecting such a difference.")] = 0.8,
    rate: Annotated[float, typer.Option(help="Success rate of the worse policy.")] = 0.5,
    rho: Annotated[
        float | None,
        typer.Option(help="Correlation of real and imagined outcomes from the same start."),
    ] = None,
    cost_ratio: Annotated[
        float, typer.Option(help="Cost of a real trial relative to an imagined one.")
    ] = 100.0,
    level: Level = 0.95,
    test: Annotated[
        str,
        typer.Option(
            help="Test that will be applied: betting, or mcnemar, which may be read only once."
        ),
    ] = "betting",
    out: Out = None,
    seed: Seed = 0,  # every verb takes it; nothing here is random
    as_json: Json = False,
) -> None:
    """Compute how many real and imagined trials a comparison needs."""
    from rich.table import Table

    from worldeval.api.validate import plan as buy

    found = buy(
        policies=policies,
        gap=gap,
        power=power,
        level=level,
        rate=rate,
        rho=rho,
        cost_ratio=cost_ratio,
        test=test,
    )
    emit(found.to_json(), as_json=as_json, out=out)
    if as_json:
        return
    table = Table("per policy", "trials", title=f"{policies} policies, gap {gap:g}, {test}")
    table.add_row("real, if only one pair were compared", f"{found.real_one_pair:,}")
    table.add_row(f"real, all {found.comparisons} pairs", f"{found.real_alone:,}")
    if found.imagined:
        table.add_row("or real, with imagination", f"{found.real:,}")
        table.add_row("   and imagined", f"{found.imagined:,}")
        table.add_row("cost in real trials, all policies", f"{found.cost:,.0f}")
        table.add_row("   instead of", f"{found.cost_alone:,.0f}")
    console.print(table)
    console.print(found.advice)


def _print(found: "Validation") -> None:
    from rich.table import Table

    if found.headline:
        console.print(found.headline, style="bold red")
    a = found.agreement
    table = Table(
        "measure", "value", "interval", "perfect binary", "perfect graded",
        title=f"{len(a.policies)} policies, {len(a.tasks)} tasks, level {a.pearson.level:g}",
    )  # fmt: skip
    for label, estimate, ceiling in (
        ("Pearson, other lineages", a.pearson, "pearson"),
        ("  these policies, other starts", a.pearson_starts, "pearson"),
        ("  above the median rate", a.pearson_strong, None),
        ("Spearman, other lineages", a.spearman, "spearman"),
        ("  these policies, other starts", a.spearman_starts, "spearman"),
        ("  within task, mean", a.within_task_spearman, None),
        ("  policies at .05 to .97", a.midrange_spearman, None),
        ("Kendall tau-b", a.kendall, None),
        ("MMRV", a.mmrv, "mmrv"),
        (f"pairwise accuracy, gap > {a.margin:g}", a.pairwise_accuracy, None),
        ("top-1 regret", a.top1_regret, None),
        ("top-3 regret", a.top3_regret, None),
        ("bias (predicted - real)", a.bias, None),
        ("mean absolute error", a.mae, None),
        ("  of a task and policy", a.cell_mae, None),
    ):
        value, _, bounds = str(estimate).partition(" ")
        perfect = (
            "" if ceiling is None else str(each[ceiling])
            for each in (a.ceiling, a.ceiling_graded)
        )  # fmt: skip
        table.add_row(label, value, bounds, *perfect)
    console.print(table)
    if a.permutation_p is not None:
        console.print(f"Permutation p of the order: {a.permutation_p:.2g}")
    if a.slope is not None and a.intercept is not None:
        line = f"Calibration: real = {a.intercept:.2f} + {a.slope:.2f} x predicted"
        console.print(line)
    for left, what in ((found.without_policy, "policy"), (found.without_lineage, "lineage")):
        known = {k: v["pearson"] for k, v in left.items() if v["pearson"] is not None}
        if known:
            worst = min(known, key=lambda k: known[k])
            console.print(
                f"Lowest Pearson without one {what}: {known[worst]:.3f} (without {worst})",
            )
    if found.combined is not None and found.combined.policies:
        console.print(_combined(found))
    if found.shrunk:
        table = Table(
            title="real rates by imagined rates, updated by real trials", title_justify="left"
        )
        for column in ("policy", "rate", "real"):
            table.add_column(column, justify="left" if column == "policy" else "right")
        for name, one in found.shrunk.items():
            table.add_row(name, str(one), str(one.n))
        console.print(table)
    for finding in found.findings:
        style = "red" if finding.severity == "refusal" else "yellow"
        console.print(
            f"{finding.severity} {finding.code}: {finding.text}",
            style=style,
        )


def _combined(found: "Validation") -> "Table":
    """Tabulate rates that combine real and imagined trials."""
    from rich.table import Table

    combined = found.combined
    assert combined is not None

    table = Table(title="real rates, with the help of imagination", title_justify="left")
    for column in ("policy", "rate", "real", "imagined", "rho", "real trials saved"):
        table.add_column(column, justify="left" if column == "policy" else "right")
    for name, one in combined.policies.items():
        table.add_row(
            name,
            str(one.estimate),
            str(combined.pairs[name]),
            str(combined.imagined[name]),
            "" if one.rho is None else f"{one.rho:.2f}",
            f"{one.trials_saved:.1f}",
        )
    return table
