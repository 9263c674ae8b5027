"""`worldeval judge`: train and calibrate success classifiers of imagined roll-outs."""

from pathlib import Path
from typing import Annotated

import typer

from worldeval.cli.common import (
    MODELS,
    RECIPE,
    SAFETY,
    Every,
    Formats,
    Json,
    Maps,
    Out,
    Seed,
    Sets,
    TextEncoder,
    Track,
    Trust,
    console,
    emit,
    log,
    settings_of,
    verb,
)
from worldeval.errors import UserError

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


def again(
    run: Annotated[Path, typer.Argument(help="Folder of a finished ranking run.")],
    judge: Annotated[
        list[str],
        typer.Option(
            "--judge",
            help="Address of the other judge (docs/judges.md); human: labels from the viewer. "
            "Repeated: a panel.",
            rich_help_panel=MODELS,
        ),
    ],
    trust_pickle: Trust = False,
    trust_code: Annotated[
        bool,
        typer.Option(
            "--trust-code",
            help="Read the cards of the run's policies that are Python code, which runs them.",
            rich_help_panel=SAFETY,
        ),
    ] = False,
    out: Out = None,
    seed: Seed = 0,  # every verb takes it; the new run has the seed of the old one
    as_json: Json = False,
) -> None:
    """Judge a run's episodes with another judge, and rank them anew; nothing is imagined.

    Episodes, starts and measured outcomes are those of the run, so that judges are compared on the
    same episodes.
    """
    from worldeval.api.judge_again import judge_again
    from worldeval.api.live_progress import LiveProgress
    from worldeval.api.tables import renderables

    with LiveProgress(log, as_json=as_json) as watch:
        result = judge_again(
            run,
            judge,
            out or Path(f"{run}-judged-again"),
            trust_code=trust_code,
            trust_pickle=trust_pickle,
            progress=watch,
        )
    if as_json:
        emit(result.to_json(), as_json=True)
        return
    for each in renderables(result):
        console.print(each)
    log.print(f"All numbers are in {result.paths.summary}.", style="dim")


def calibrate(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Folders of `rank` runs of this judge, with --truth or labels."),
    ],
    judge: Annotated[
        Path | None,
        typer.Option("--judge", help="Folder of the judge to correct.", rich_help_panel=MODELS),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            help="Correct a judge of frames, and the rate of every labelled policy, with labels: "
            "people (given in the viewer), or a CSV of randomly drawn episodes with policy, task, "
            "start, success. Writes a file for calibration=FILE.",
            rich_help_panel=MODELS,
        ),
    ] = None,
    out: Out = None,
    seed: Seed = 0,  # every verb takes it; nothing here is random
    as_json: Json = False,
) -> None:
    """Correct a judge's predicted rates with policies whose success was also measured.

    Only a slope and an offset per task are fitted; the networks and the order of policies on each
    task do not change. Use the result to judge other policies. With --labels, 10 or more labels of
    imagined episodes correct a judge of frames, and the rate of every labelled policy. The
    correction is common to all tasks or by task, whichever fits policies held out of it better.
    """
    if labels is not None:
        _with_labels(runs, labels, out or Path("runs/calibration.json"), as_json)
        return
    if judge is None:
        raise UserError("Give the folder of a trained judge as --judge, or --labels.")
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


def _with_labels(runs: list[Path], labels: str, out: Path, as_json: bool) -> None:
    from worldeval.api.label_calibration import calibrate_with_labels

    found = calibrate_with_labels(runs, labels, out)
    emit({"out": str(out), **found.to_json()}, as_json=as_json)
    if as_json:
        return
    after = "" if found.log_loss_after is None else f", {found.log_loss_after:.3f} after"
    console.print(
        f"{found.labels} labels of {found.policies} policies; mean log loss "
        f"{found.log_loss_before:.3f} before{after}, for policies held out of the correction"
    )
    compared = ", ".join(f"{name} {loss:.3f}" for name, loss in found.log_losses.items())
    console.print(f"correction: {found.method} ({compared or 'nothing else with one policy'})")
    for policy, rate in found.rates.items():
        console.print(f"  {policy:<24} {rate}  from {rate.n} labels")
    if found.correction is None:
        console.print("a learned judge is corrected with measured outcomes: --judge FOLDER")
    else:
        console.print(f"judge with calibration={out}")


verb(
    judge, "train", train,
    "worldeval judge train --world runs/world --data runs/data --weak runs/weak --out runs/judge",
)  # fmt: skip
verb(
    judge, "again", again,
    "worldeval judge again runs/demo --judge 'vlm:http://gpu:8000/v1?model=qwen' --out runs/vlm",
    "worldeval judge again runs/demo --judge human --out runs/people",
)  # fmt: skip
verb(
    judge, "calibrate", calibrate,
    "worldeval judge calibrate runs/dev --judge runs/judge --out runs/judge-calibrated",
    "worldeval judge calibrate runs/vlm --labels people --out vlm.json",
)  # fmt: skip
