"""`worldeval export`: imagined roll-outs of a run as a dataset that a robot's trainer loads."""

from pathlib import Path
from typing import Annotated

import typer

from worldeval.cli.common import Json, console, emit, log


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("export")(export)


def export(
    run: Annotated[Path, typer.Argument(help="A run folder with imagined roll-outs.")],
    out: Annotated[Path | None, typer.Option("--out", help="Default RUN/dataset.")] = None,
    select: Annotated[
        str | None,
        typer.Option(help='Which to keep, such as "success and probability > 0.8". Default: all.'),
    ] = None,
    to: Annotated[str, typer.Option("--to", help="Format: lerobot.")] = "lerobot",
    world: Annotated[
        Path | None, typer.Option(help="The world model, where the run names another place.")
    ] = None,
    license: Annotated[str | None, typer.Option(help="Licence for the dataset card.")] = None,
    as_json: Json = False,
) -> None:
    """Write imagined episodes with the judge's verdict and the provenance of every one."""
    from rich.progress import track

    from worldeval import __version__
    from worldeval.errors import UserError, did_you_mean
    from worldeval.export.dataset import export_episodes
    from worldeval.export.imagined import CALLED, open_imagined
    from worldeval.world.load import load_world

    if to != "lerobot":
        raise UserError(f"There is no export format '{to}'.{did_you_mean(to, ['lerobot'])}")
    imagined = open_imagined(run, world)
    records = imagined.select(select)
    every = len(imagined.records())
    if not records:
        raise UserError(f"--select {select!r} keeps none of {every} roll-outs. Loosen it.")
    episodes = imagined.episodes(records, load_world(imagined.world))
    done = export_episodes(
        track(episodes, total=len(records), description="export", console=log),
        out or run / "dataset",
        facts={
            "made_by": f"worldeval {__version__}",
            "run": run.resolve().name,
            "world_model": f"{imagined.world.name} ({records[0]['world_model']})",
            "judge": records[0]["judge"],
            "success_from_probability": CALLED,
            "select": select or "all",
            "kept": f"{len(records)} of {every}",
        },
        license=license,
    )
    result = {
        "out": str(done.out),
        "episodes": done.episodes,
        "frames": done.frames,
        "successes": done.successes,
        "of": every,
    }
    emit(result, as_json=as_json)
    if not as_json:
        console.print(
            f"{done.episodes} of {every} episodes ({done.successes} judged successful, "
            f"{done.frames} frames) in {done.out}"
        )
