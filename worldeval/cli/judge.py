"""`worldeval judge`: train and calibrate success classifiers of imagined roll-outs."""

from pathlib import Path
from typing import Annotated

import typer

from worldeval.cli.common import (
    MODELS,
    RECIPE,
    Every,
    Formats,
    Json,
    Maps,
    Out,
    Seed,
    Sets,
    TextEncoder,
    Track,
    console,
    emit,
    settings_of,
    verb,
)

judge = typer.Typer(name="judge", help="Train judges of imagined roll-outs.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the `judge` group."""
    app.add_typer(judge)


@judge.callback()
def group() -> None:
    """Train judges of imagined roll-outs."""


def train(
    world: Annotated[
        Path,
        typer.Option(
            "--world",
            help="Folder of a world model that was trained with --weak.",
            rich_help_panel=MODELS,
        ),
    ],
    data: Annotated[
        list[str],
        typer.Option(
            "--data",
            help="The dataset that the world model was trained on, given in the same way.",
            rich_help_panel=MODELS,
        ),
    ],
    weak: Annotated[
        list[Path],
        typer.Option("--weak", help="Dataset of policies' roll-outs.", rich_help_panel=MODELS),
    ],
    recipe: Annotated[str, typer.Argument(help="Name or path of a judge recipe.")] = "judge",
    formats: Formats = None,
    maps: Maps = None,
    every: Every = None,
    text_encoder: TextEncoder = None,
    out: Out = None,
    seed: Seed = 0,
    world_seed: Annotated[
        int,
        typer.Option(
            help="Random seed with which the world model was trained.", rich_help_panel=RECIPE
        ),
    ] = 0,
    track: Track = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Train a judge, and calibrate it on families of policies that it was not trained on."""
    from worldeval.api.data import read_mixture, read_rollouts
    from worldeval.api.train import train_judge

    folder = out or Path("runs/judge")
    parts = read_mixture(data, formats or (), maps or (), every)
    fitted = train_judge(
        world,
        parts,
        read_rollouts(weak, maps or (), every, beside=parts),
        folder,
        recipe=recipe,
        text_encoder=text_encoder,
        settings=settings_of(sets),
        track=track or (),
        seed=seed,
        world_seed=world_seed,
    )
    emit({"out": str(folder), "left_out_families": fitted.left_out}, as_json=as_json)
    if not as_json:
        console.print("on held-out families of policies:")
        for name, value in fitted.left_out.items():
            said = "undefined" if value is None else f"{value:.3f}"
            console.print(f"  {name.replace('_', ' '):<16} {said}")


def calibrate(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of `rank` runs that used --truth and this judge.")
    ],
    judge: Annotated[
        Path,
        typer.Option("--judge", help="Folder of the judge to correct.", rich_help_panel=MODELS),
    ],
    out: Out = None,
    seed: Seed = 0,  # every verb takes it; nothing here is random
    as_json: Json = False,
) -> None:
    """Correct a judge's predicted rates with policies whose success was also measured.

    Only a slope and an offset per task are fitted; the networks and the order of policies on each
    task do not change. Use the result to judge other policies.
    """
    from dataclasses import asdict

    from worldeval.api.train import calibrate_judge

    folder = out or Path("runs/judge-calibrated")
    found = calibrate_judge(judge, runs, folder)
    result = {
        "out": str(folder),
        **found.learned_from,
        "calibration": asdict(found.calibration),
        "cell_error_before": found.cell_error_before,
        "cell_error_after": found.cell_error_after,
    }
    emit(result, as_json=as_json)
    if not as_json:
        console.print(
            f"mean error of a policy's rate on a task: {found.cell_error_before:.3f} before, "
            f"{found.cell_error_after:.3f} after, for lineages held out of the correction"
        )


verb(
    judge, "train", train,
    "worldeval judge train --world runs/world --data runs/data --weak runs/weak --out runs/judge",
)  # fmt: skip
verb(
    judge, "calibrate", calibrate,
    "worldeval judge calibrate runs/dev --judge runs/judge --out runs/judge-calibrated",
)  # fmt: skip
