"""`worldeval policy train`: train policies, or sets of policies, from demonstrations."""

from pathlib import Path
from typing import Annotated

import typer

from worldeval.cli.common import (
    WORK,
    Formats,
    Json,
    Maps,
    Out,
    Seed,
    Sets,
    Track,
    console,
    counted,
    emit,
    settings_of,
    verb,
)

policy = typer.Typer(name="policy", help="Train policies to rank.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the `policy` group."""
    app.add_typer(policy)


def train(
    recipe: Annotated[str, typer.Argument(help="Name or path of a policy or policy-set recipe.")],
    data: Annotated[
        list[str],
        typer.Option("--data", help="Dataset of demonstrations, in any format. May be repeated."),
    ],
    formats: Formats = None,
    maps: Maps = None,
    out: Out = None,
    seed: Seed = 0,
    jobs: Annotated[
        int,
        typer.Option(
            help="Number of lineages trained at the same time.", min=1, rich_help_panel=WORK
        ),
    ] = 1,
    track: Track = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Train the lineages of a recipe by imitation, and keep checkpoints during training.

    Checkpoints are written to OUT/LINEAGE/step-N. Finished lineages are not trained again.
    """
    from rich.table import Table

    from worldeval.api.data import read_mixture
    from worldeval.api.train import train_policies

    folder = out or Path("runs/policies") / Path(recipe).stem
    with counted("lineages") as done:
        made = train_policies(
            recipe,
            read_mixture(data, formats or (), maps or ()),
            folder,
            settings=settings_of(sets),
            track=track or (),
            seed=seed,
            jobs=jobs,
            done=done,
        )
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


@policy.callback()
def group() -> None:
    """Train policies to rank."""


verb(policy, "train", train, "worldeval policy train policy-flow --data runs/data --out runs/bc")
