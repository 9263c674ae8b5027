"""`worldeval judge`: success classifiers for a world model's imagination."""

from pathlib import Path
from typing import Annotated

import typer

from worldeval.cli.common import Formats, Json, Maps, Out, Seed, Sets, console, emit, log

judge = typer.Typer(name="judge", help="Train judges of imagined roll-outs.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the `judge` group."""
    app.add_typer(judge)


@judge.callback()
def group() -> None:
    """Train judges of imagined roll-outs."""


@judge.command("train")
def train(
    world: Annotated[Path, typer.Option("--world", help="Folder of a world model with folds.")],
    data: Annotated[
        list[str], typer.Option("--data", help="The data it was trained on, as in its training.")
    ],
    weak: Annotated[list[Path], typer.Option("--weak", help="Datasets of policies' roll-outs.")],
    recipe: Annotated[str, typer.Argument(help="A judge recipe: name or path.")] = "judge",
    formats: Formats = None,
    maps: Maps = None,
    out: Out = None,
    seed: Seed = 0,
    world_seed: Annotated[int, typer.Option(help="The seed of the world's training.")] = 0,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Train a judge and calibrate it on families of policies that it was not trained on."""
    from worldeval import recipe as recipes
    from worldeval.cli.progress import training_stages
    from worldeval.data.weighted import read_mixture
    from worldeval.judge.learn import learn_judge
    from worldeval.runs.origin import open_run

    found = recipes.load(recipe, "judge", sets or ())
    folder = out or Path("runs/judge")
    kept = {"recipe": found.resolved(), "reread": found.reread}
    open_run(folder, **kept, seed=seed, command="judge train", resume=True)
    with training_stages(log) as report:
        fitted = learn_judge(
            found.config,
            world,
            read_mixture(data, formats or (), maps or ()),
            weak,
            folder,
            seed=seed,
            world_seed=world_seed,
            report=report,
        )
    emit({"out": str(folder), "left_out_families": fitted.left_out}, as_json=as_json)
    if not as_json:
        console.print("on families of policies that were left out:")
        for name, value in fitted.left_out.items():
            console.print(f"  {name.replace('_', ' '):<16} {value:.3f}")


@judge.command("calibrate")
def calibrate(
    runs: Annotated[list[Path], typer.Argument(help="Runs of `rank` with truth and this judge.")],
    judge: Annotated[Path, typer.Option("--judge", help="Folder of the judge to correct.")],
    out: Out = None,
    seed: Seed = 0,  # every verb takes it; nothing here is random
    as_json: Json = False,
) -> None:
    """Correct the rates of a judge by policies that were also tried for real.

    The networks stay as they are, and so does the order on each task: only the slope and the
    offset of each task change. Judge other policies with the result.
    """
    from dataclasses import asdict

    from worldeval.evaluate.known import write_known
    from worldeval.evaluate.recalibrate import recalibrated
    from worldeval.judge.judge import save_calibration

    folder = out or Path("runs/judge-calibrated")
    found = recalibrated(judge, runs)
    save_calibration(folder, judge, found.calibration, learned_from=found.learned_from)
    write_known(folder, found.known)
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
            f"mean error of a policy on a task: {found.cell_error_before:.3f} before, "
            f"{found.cell_error_after:.3f} for lineages left out of the correction"
        )
