"""`worldeval train`: train a world model on recorded or collected trajectories."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worldeval.cli.common import (
    DATA,
    RECIPE,
    WORK,
    Every,
    Formats,
    Json,
    Maps,
    Out,
    Seed,
    Sets,
    Track,
    console,
    emit,
    settings_of,
    verb,
)
from worldeval.cli.part_table import part_table

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
            help="Dataset in any format. Repeat as FOLDER:WEIGHT to train on a mixture.",
            rich_help_panel=DATA,
        ),
    ],
    model: Annotated[
        str,
        typer.Option("--model", help="Name or path of a model recipe.", rich_help_panel=RECIPE),
    ] = "latent",
    weak: Annotated[
        list[Path] | None,
        typer.Option(
            "--weak",
            help="Dataset of policy roll-outs to add; a judge is later trained on it.",
            rich_help_panel=DATA,
        ),
    ] = None,
    latents: Annotated[
        list[Path] | None,
        typer.Option(
            "--latents",
            help="Latents of a --data dataset, as written by `worldeval data encode`.",
            rich_help_panel=DATA,
        ),
    ] = None,
    formats: Formats = None,
    maps: Maps = None,
    every: Every = None,
    jobs: Annotated[
        int, typer.Option(help="Number of folds trained at the same time.", rich_help_panel=WORK)
    ] = 2,
    compile: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile the networks (torch.compile). The first steps take minutes, so it pays "
            "on a GPU and for long trainings.",
            rich_help_panel=WORK,
        ),
    ] = False,
    out: Out = None,
    seed: Seed = 0,
    track: Track = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Train a world model, and report how well it replays held-out episodes.

    Repeat --data to train on a mixture (--data mine --data others:0.3): windows are drawn from each
    dataset in proportion to its weight, 1 by default, and each dataset keeps its own held-out
    split. Mark data without meaningful actions or instructions as FOLDER:WEIGHT:video, for families
    that learn from video (uwm).

    A tokenizer is trained first and encodes the frames into OUT/latents; precomputed latents are
    used as they are. A second run does not encode again.

    With --data DATA --latents FOLDER, the world model is trained on the latents written by
    `worldeval data encode DATA --world WORLD --out FOLDER`, with the tokenizer of WORLD. With
    several --data, give --latents once for each.
    """
    from worldeval.api.data import read_mixture, read_rollouts
    from worldeval.api.train import train_world

    parts = read_mixture(data, formats or (), maps or (), every)
    trained = train_world(
        parts,
        out or Path("runs/world") / Path(model).stem,
        model=model,
        weak=read_rollouts(weak or (), maps or (), every, beside=parts),
        latents=latents or (),
        settings=settings_of(sets),
        track=track or (),
        jobs=jobs,
        compile=compile,
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
        parts = part_table(trained.fidelity, lambda error: f"{error:.3g}")
        if parts is not None:
            console.print(parts)


def fidelity_table(fidelity: Mapping[str, Any]) -> "Table":
    """Tabulate open-loop error by horizon, next to repeating the first frame."""
    from rich.table import Table

    table = Table(title="held-out episodes, replayed open loop from their first frame")
    for column in ("horizon", "latent MSE", "first frame copied", "position error", "episodes"):
        table.add_column(column, justify="right")
    for horizon, row in fidelity.items():
        table.add_row(
            horizon[1:],
            f"{row['latent_mse']:.3f}",
            f"{row['copy_mse']:.3f}",
            f"{row['hand_mm']:.1f} mm" if "hand_mm" in row else f"{row['place_error']:.3g}",
            str(row["episodes"]),
        )
    return table
