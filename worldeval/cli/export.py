"""`worldeval export`: imagined roll-outs of a run as a dataset that a robot's trainer loads."""

from pathlib import Path
from typing import Annotated

import typer

from worldeval.cli.common import Format, Json, Map, Seed, console, emit, log, opened


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("export")(export)


def export(
    run: Annotated[Path, typer.Argument(help="A run folder with imagined roll-outs.")],
    made: Annotated[
        Path | None,
        typer.Argument(help="What to make: a folder, or a .hdf5 file. Default: RUN/dataset."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The same as an option.")] = None,
    select: Annotated[
        str | None,
        typer.Option(help='Which to keep, such as "success and trust > 0.8". Default: all.'),
    ] = None,
    to: Annotated[str, typer.Option("--to", help="lerobot or robomimic.")] = "lerobot",
    world: Annotated[
        Path | None, typer.Option(help="The world model, where the run names another place.")
    ] = None,
    mix: Annotated[
        Path | None, typer.Option(help="Recorded data to mix in, in any format that is read.")
    ] = None,
    kind: Format = None,
    named: Map = None,
    ratio: Annotated[float, typer.Option(help="Share of recorded episodes with --mix.")] = 0.5,
    seed: Seed = 0,
    license: Annotated[str | None, typer.Option(help="Licence for the dataset card.")] = None,
    as_json: Json = False,
) -> None:
    """Write imagined episodes with the judge's verdict and the provenance of every one.

    --select compares columns: success, probability, trust, disagreement, mended_actions, reached,
    policy, lineage, step, task, start, seed, joined by and, or, not.
    """
    from itertools import chain

    import numpy as np
    from rich.progress import track

    from worldeval import __version__
    from worldeval.errors import UserError, did_you_mean
    from worldeval.export.dataset import FORMAT_NAMES, export_episodes
    from worldeval.export.imagined import CALLED, open_imagined
    from worldeval.export.mix import of_training, recorded_count, recorded_episodes
    from worldeval.world.load import load_world

    if to not in FORMAT_NAMES:
        raise UserError(f"There is no export format '{to}'.{did_you_mean(to, FORMAT_NAMES)}")
    target = made or out or run / ("dataset.hdf5" if to == "robomimic" else "dataset")
    imagined = open_imagined(run, world)
    records = imagined.select(select)
    every = len(imagined.records())
    if not records:
        raise UserError(f"--select {select!r} keeps none of {every} roll-outs. Loosen it.")
    model = load_world(imagined.world)
    episodes, total = imagined.episodes(records, model), len(records)
    if mix is not None:
        source = opened(mix, kind, named)
        count = recorded_count(len(records), ratio, len(of_training(source)))
        rng = np.random.default_rng(seed)
        episodes = chain(episodes, recorded_episodes(source, model.spec, count, rng))
        total += count
    done = export_episodes(
        track(episodes, total=total, description="export", console=log),
        target,
        to=to,
        signals=[name for name in records[0] if name not in ("success", "task")],
        facts={
            "made_by": f"worldeval {__version__}",
            "run": run.resolve().name,
            "world_model": f"{imagined.world.name} ({records[0]['world_model']})",
            "judge": records[0]["judge"],
            "success_from_probability": CALLED,
            "select": select or "all",
            "kept": f"{len(records)} of {every}",
            "mixed_in": f"{total - len(records)} episodes of {mix.resolve().name}"
            if mix
            else "none",
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
        "recorded": total - len(records),
    }
    emit(result, as_json=as_json)
    if not as_json:
        console.print(
            f"{done.episodes} episodes ({len(records)} of {every} imagined ones; "
            f"{done.successes} successful, {done.frames} frames) in {done.out}"
        )
