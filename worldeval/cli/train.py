"""`worldeval train`: a world model from recorded or collected trajectories."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worldeval.cli.common import (
    DATA,
    RECIPE,
    WORK,
    Formats,
    Json,
    Maps,
    Out,
    Seed,
    Sets,
    Track,
    console,
    emit,
    verb,
)

if TYPE_CHECKING:
    from rich.table import Table


def register(app: typer.Typer) -> None:
    """Add the verb."""
    verb(
        app, "train", train,
        "worldeval train --data runs/data/mine --model latent --out runs/world",
        "worldeval train --data mine --data others:0.3 --set trainer.steps=2000",
    )  # fmt: skip


def train(
    data: Annotated[
        list[str],
        typer.Option(
            "--data",
            help="A dataset in any format. Repeat as FOLDER:WEIGHT to train on a mixture.",
            rich_help_panel=DATA,
        ),
    ],
    model: Annotated[
        str,
        typer.Option("--model", help="A model recipe: name or path.", rich_help_panel=RECIPE),
    ] = "latent",
    weak: Annotated[
        list[Path] | None,
        typer.Option(
            "--weak",
            help="Dataset of policies' roll-outs to add, which a judge is later trained on.",
            rich_help_panel=DATA,
        ),
    ] = None,
    latents: Annotated[
        list[Path] | None,
        typer.Option(
            "--latents",
            help="Folder of `worldeval data encode` for a --data, instead of encoding it again.",
            rich_help_panel=DATA,
        ),
    ] = None,
    formats: Formats = None,
    maps: Maps = None,
    jobs: Annotated[
        int, typer.Option(help="Number of folds trained at the same time.", rich_help_panel=WORK)
    ] = 2,
    out: Out = None,
    seed: Seed = 0,
    track: Track = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Train a world model, and report how well it replays held-out episodes.

    Repeat --data to train on a mixture: windows come from each dataset by its weight, which is 1
    by default, and each dataset keeps its own held-out split (--data mine --data others:0.3).
    Data without actions or instructions are marked FOLDER:WEIGHT:video, for families that learn
    from video (uwm).

    Frames are encoded into OUT/latents by a tokenizer that is trained first; data that come with
    precomputed latents are trained on as they are. A second run encodes nothing again.

    With --data DATA --latents FOLDER, the world model is trained on the latents that `worldeval
    data encode DATA --world WORLD --out FOLDER` wrote: no tokenizer is trained, the one of WORLD is
    used. With several --data, give --latents for each.
    """
    from worldeval.api.train import train_world
    from worldeval.data.weighted import read_mixture

    trained = train_world(
        read_mixture(data, formats or (), maps or ()),
        out or Path("runs/world") / Path(model).stem,
        model=model,
        weak=weak or (),
        latents=latents or (),
        sets=sets or (),
        track=track or (),
        jobs=jobs,
        seed=seed,
    )
    result = {
        "out": str(trained.folder),
        "tokenizer_psnr": trained.tokenizer_psnr,
        "held_out_episodes": trained.held_out_episodes,
        "fidelity": trained.fidelity,
    }
    emit(result, as_json=as_json)
    if not as_json:
        console.print(fidelity_table(trained.fidelity))


def fidelity_table(fidelity: Mapping[str, Any]) -> "Table":
    """Open-loop error by horizon, beside the copied first frame."""
    from rich.table import Table

    table = Table(title="held-out episodes, replayed open loop from their first frame")
    for column in ("horizon", "latent MSE", "first frame copied", "hand error (mm)", "episodes"):
        table.add_column(column, justify="right")
    for horizon, row in fidelity.items():
        table.add_row(
            horizon[1:],
            f"{row['latent_mse']:.3f}",
            f"{row['copy_mse']:.3f}",
            f"{row['hand_mm']:.1f}",
            str(row["episodes"]),
        )
    return table
