"""`worldeval data collect`: record episodes in the simulator."""

from pathlib import Path
from typing import Annotated

import typer

from worldeval.cli.common import (
    WORK,
    Json,
    Out,
    Seed,
    Sets,
    console,
    counted,
    emit,
    settings_of,
    verb,
)


def register(data: typer.Typer) -> None:
    """Add the verb to the `data` group."""
    verb(
        data,
        "collect",
        collect,
        "worldeval data collect mine.yaml --out runs/data",
        panels={WORK: ("jobs",)},
    )


def collect(
    recipe: Annotated[
        str, typer.Argument(help="Name or path of a dataset recipe that collects episodes.")
    ],
    out: Out = None,
    seed: Seed = 0,
    jobs: Annotated[int, typer.Option(help="Number of parallel processes.")] = 2,
    to: Annotated[
        str, typer.Option(help="Format to write: shards to train on, lerobot or robomimic.")
    ] = "shards",
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Collect episodes in the simulator: demonstrations, near misses, play or roll-outs."""
    from dataclasses import asdict

    from worldeval.api.collect import collect_dataset

    folder = out or Path("runs/data") / Path(recipe).stem
    with counted("shards") as progress:
        done = collect_dataset(
            recipe,
            folder,
            settings=settings_of(sets),
            seed=seed,
            jobs=jobs,
            to=to,
            progress=progress,
        )
    emit(asdict(done), as_json=as_json)
    if not as_json:
        console.print(f"{done.episodes} episodes, {done.frames} frames in {done.out}")
