"""`worldeval export`: imagined roll-outs of a run as a dataset that a robot's trainer loads."""

from pathlib import Path
from typing import Annotated

import typer

from worldeval.cli.common import Json, Seed, console, emit, log


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
    mix: Annotated[
        Path | None, typer.Option(help="Recorded data to mix in, in any format that is read.")
    ] = None,
    ratio: Annotated[float, typer.Option(help="Share of recorded episodes with --mix.")] = 0.5,
    seed: Seed = 0,
    license: Annotated[str | None, typer.Option(help="Licence for the dataset card.")] = None,
    as_json: Json = False,
) -> None:
    """Write imagined episodes with the judge's verdict and the provenance of every one."""
    from itertools import chain

    import numpy as np
    from rich.progress import track

    from worldeval import __version__
    from worldeval.data.source import open_source
    from worldeval.errors import UserError, did_you_mean
    from worldeval.export.dataset import export_episodes
    from worldeval.export.imagined import CALLED, open_imagined
    from worldeval.export.mix import recorded_count, recorded_episodes
    from worldeval.world.load import load_world

    if to != "lerobot":
        raise UserError(f"There is no export format '{to}'.{did_you_mean(to, ['lerobot'])}")
    imagined = open_imagined(run, world)
    records = imagined.select(select)
    every = len(imagined.records())
    if not records:
        raise UserError(f"--select {select!r} keeps none of {every} roll-outs. Loosen it.")
    model = load_world(imagined.world)
    episodes, total = imagined.episodes(records, model), len(records)
    if mix is not None:
        source = open_source(mix)
        count = recorded_count(len(records), ratio, len(source))
        rng = np.random.default_rng(seed)
        episodes = chain(episodes, recorded_episodes(source, model.spec, count, rng))
        total += count
    done = export_episodes(
        track(episodes, total=total, description="export", console=log),
        out or run / "dataset",
        facts={
            "made_by": f"worldeval {__version__}",
            "run": run.resolve().name,
            "world_model": f"{imagined.world.name} ({records[0]['world_model']})",
            "judge": records[0]["judge"],
            "success_from_probability": CALLED,
            "select": select or "all",
            "kept": f"{len(records)} of {every}",
            "mixed_in": f"{total - len(records)} episodes of {mix}" if mix else "none",
        },
        license=license,
    )
    result = {
        "out": str(done.out),
        "episodes": done.episodes,
        "frames": done.frames,
        "successes": done.successes,
        "imagined": len(records),
        "of": every,
    }
    emit(result, as_json=as_json)
    if not as_json:
        console.print(
            f"{done.episodes} episodes ({len(records)} of {every} imagined ones; "
            f"{done.successes} successful, {done.frames} frames) in {done.out}"
        )
