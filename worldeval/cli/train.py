"""`worldeval train`: a world model from recorded or collected trajectories."""

from pathlib import Path
from typing import Annotated

import typer

from worldeval.cli.common import Formats, Json, Maps, Out, Seed, Sets, console, emit, log


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("train")(train)


def train(
    data: Annotated[
        list[str],
        typer.Option("--data", help="A dataset in any format; several: FOLDER:WEIGHT each."),
    ],
    model: Annotated[str, typer.Option("--model", help="A model recipe: name or path.")] = "latent",
    weak: Annotated[
        list[Path] | None, typer.Option("--weak", help="Datasets of policies' roll-outs to add.")
    ] = None,
    latents: Annotated[
        list[Path] | None,
        typer.Option(
            "--latents",
            help="Folder of `worldeval data encode` for a --data, instead of encoding it again.",
        ),
    ] = None,
    formats: Formats = None,
    maps: Maps = None,
    jobs: Annotated[int, typer.Option(help="Folds trained at the same time.")] = 2,
    out: Out = None,
    seed: Seed = 0,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Train a world model, and report how well it replays held-out episodes.

    Several --data are a mixture: windows come from each by its weight, which is 1 where none is
    given (--data mine --data others:0.3). Data without actions or instructions are marked
    FOLDER:WEIGHT:video, for families that learn from video (uwm).

    Frames are encoded into OUT/latents by a tokenizer that is trained first; data that come with
    precomputed latents are trained on as they are. A second run encodes nothing again.

    Latents of `worldeval data encode DATA --world WORLD --out FOLDER` are trained on by
    --data DATA --latents FOLDER: no tokenizer is trained, that of WORLD is taken. Each of several
    --data needs its --latents.
    """
    from worldeval import recipe as recipes
    from worldeval.data.weighted import read_mixture
    from worldeval.run import read_json
    from worldeval.runs.origin import open_run
    from worldeval.world.load import CARD
    from worldeval.world.training.pipeline import train_base
    from worldeval.world.training.pipeline import train_world as train_final
    from worldeval.world.training.prepare import prepare

    found = recipes.load(model, "model", sets or ())
    parts = read_mixture(data, formats or (), maps or ())
    folder = out or Path("runs/world") / found.name
    kept = {"recipe": found.resolved(), "reread": found.reread}
    open_run(folder, **kept, seed=seed, command="train", resume=True)
    with stages() as report:
        given = {"seed": seed, "latents": latents or ()}
        prepared = prepare(found.config, parts, weak or (), folder, report=report, say=say, **given)
        shared = {"kind": found.kind, "seed": seed, "report": report}
        if len(prepared.weak):
            train_base(found.config, prepared, folder, **shared)
            _in_parallel(found, parts, tuple(weak or ()), folder, given, jobs=jobs)
        train_final(found.config, prepared, folder, **shared)
    card = read_json(folder / CARD)
    result = {
        "out": str(folder),
        "tokenizer_psnr": card["tokenizer_psnr"],
        "held_out_episodes": len(prepared.held),
        "fidelity": card["fidelity"],
    }
    emit(result, as_json=as_json)
    if not as_json:
        console.print(fidelity_table(card["fidelity"]))


def say(text: str) -> None:
    """A line on stderr, its paths as they are."""
    log.print(text, markup=False, highlight=False, soft_wrap=True)


def stages():
    """Progress bars of training stages on stderr; gives `report(stage) -> progress(step, loss)`."""
    from worldeval.cli.progress import training_stages

    return training_stages(log)


def fidelity_table(fidelity: dict):
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


def _in_parallel(found, parts, weak: tuple[Path, ...], folder: Path, given, *, jobs: int):
    """The folds, each in its own process with its share of the cores."""
    import multiprocessing as mp
    import os
    from concurrent.futures import ProcessPoolExecutor

    jobs = min(jobs, found.config.folds, os.cpu_count() or 1)
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ProcessPoolExecutor(jobs, mp_context=mp.get_context("spawn")) as pool:
        futures = [
            pool.submit(_fold, found, parts, weak, folder, given, fold, threads)
            for fold in range(found.config.folds)
        ]
        for future in futures:
            future.result()


def _fold(found, parts, weak, folder, given, fold: int, threads: int) -> None:
    import torch

    from worldeval.cli.progress import training_stages
    from worldeval.world.training.pipeline import train_fold
    from worldeval.world.training.prepare import prepare

    torch.set_num_threads(threads)
    with training_stages(log, lines=True) as report:
        prepared = prepare(found.config, parts, weak, folder, report=report, **given)
        shared = {"kind": found.kind, "seed": given["seed"], "report": report}
        train_fold(found.config, prepared, folder, fold=fold, **shared)
