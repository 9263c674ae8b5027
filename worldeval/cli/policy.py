"""`worldeval policy train`: policies, or whole sets of them, from demonstrations."""

from pathlib import Path
from typing import Annotated

import typer

from worldeval.cli.common import Json, Out, Seed, Sets, console, emit, log

policy = typer.Typer(name="policy", help="Train policies to rank.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the `policy` group."""
    app.add_typer(policy)


@policy.command("train")
def train(
    recipe: Annotated[str, typer.Argument(help="A policy or policy-set recipe: name or path.")],
    data: Annotated[list[Path], typer.Option("--data", help="Demonstrations, in any format.")],
    out: Out = None,
    seed: Seed = 0,
    jobs: Annotated[int, typer.Option(help="Lineages trained at the same time.", min=1)] = 1,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Train the lineages of a recipe by imitation, keeping checkpoints along the way.

    Checkpoints go to OUT/<lineage>/step-<n>; lineages that are complete are not trained again.
    """
    from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn
    from rich.table import Table

    from worldeval import recipe as recipes
    from worldeval.data.table import read_table
    from worldeval.policy.sets import as_set, train_set
    from worldeval.runs.origin import open_run

    found = recipes.load(recipe, "policy", sets or ())
    lineages = as_set(found.name, found.config)
    folder = out or Path("runs/policies") / found.name
    read_table(*data)  # a wrong folder is an error before the run folder is made
    kept = {"recipe": found.resolved(), "reread": found.reread}
    open_run(folder, **kept, seed=seed, command="policy train", resume=True)
    made = []
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=log) as bar:
        task = bar.add_task("lineages", total=len(lineages.lineages))
        for checkpoints in train_set(lineages, data, folder, seed=seed, jobs=jobs):
            made += checkpoints
            bar.advance(task)
    order = [lineage.name for lineage in lineages.lineages]
    made.sort(key=lambda kept: (order.index(kept.card.lineage), kept.card.step))
    result = [
        {
            "checkpoint": str(kept.folder),
            "lineage": kept.card.lineage,
            "step": kept.card.step,
            "train_loss": kept.card.train_loss,
            "validation_mse": kept.card.validation_mse,
        }
        for kept in made
    ]
    emit(result, as_json=as_json)
    if not as_json:
        table = Table("lineage", "step", "training loss", "validation MSE", "demonstrations")
        for kept in made:
            table.add_row(
                kept.card.lineage,
                str(kept.card.step),
                f"{kept.card.train_loss:.3f}",
                f"{kept.card.validation_mse:.4f}",
                str(sum(kept.card.demos.values())),
            )
        console.print(table)
        console.print(f"{len(made)} checkpoints in {folder}")
