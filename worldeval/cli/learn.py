"""`worldeval learn` and `worldeval starts`: from recordings to a lab that ranks policies."""

from pathlib import Path
from typing import Annotated

import typer

from worldeval.cli.common import (
    DATA,
    RECIPE,
    WORK,
    Every,
    Json,
    Map,
    Out,
    Seed,
    Sets,
    TextEncoder,
    console,
    emit,
    settings_of,
    verb,
)

OF_JUDGE = "judge."  # prefix of the judge's keys in --set


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    verb(
        app, "learn", learn,
        "worldeval learn recordings/ --rollouts evaluations/ --minutes 60 --out lab",
        "worldeval rank lab --policies ./mine.py:make",
    )  # fmt: skip
    verb(app, "starts", starts, "worldeval starts recordings/ --world lab/world --out starts.h5")


def learn(
    data: Annotated[Path, typer.Argument(help="Folder of recorded episodes, in any format.")],
    rollouts: Annotated[
        list[Path] | None,
        typer.Option(
            "--rollouts",
            help="Dataset of earlier policy roll-outs with known outcome. May be repeated.",
            rich_help_panel=DATA,
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            help="Total training time on this machine, in minutes. Default: as in the recipe.",
            rich_help_panel=WORK,
        ),
    ] = None,
    named: Map = None,
    every: Every = None,
    text_encoder: TextEncoder = None,
    model: Annotated[
        str,
        typer.Option("--model", help="Name or path of a model recipe.", rich_help_panel=RECIPE),
    ] = "latent",
    check: Annotated[
        bool,
        typer.Option("--check/--no-check", help="Stop if the data would harm training."),
    ] = True,
    jobs: Annotated[
        int, typer.Option(help="Number of folds trained at the same time.", rich_help_panel=WORK)
    ] = 2,
    out: Out = None,
    seed: Seed = 0,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Learn everything that a ranking needs from recordings, in one command that can be resumed.

    Checks the data, holds episodes out, trains a tokenizer, a world model with folds and a judge,
    takes the starts from held-out episodes, replays roll-outs that no model saw, and writes a
    protocol and a page (OUT/README.md) that says what the result can and cannot do. --set changes
    keys of the model's recipe, and with the prefix judge. those of the judge's:
    --set judge.trainer.steps=300.
    """
    from dataclasses import asdict

    from worldeval.api.learn import learn as make

    given = settings_of(sets)
    of_judge = {
        key.removeprefix(OF_JUDGE): given.pop(key) for key in [*given] if key.startswith(OF_JUDGE)
    }
    made = make(
        data,
        out or Path("lab"),
        rollouts=rollouts or (),
        model=model,
        minutes=minutes,
        map=named,
        every=every,
        text_encoder=text_encoder,
        settings=given,
        judge_settings=of_judge,
        checked=check,
        jobs=jobs,
        seed=seed,
    )
    emit(asdict(made), as_json=as_json)
    if not as_json:
        from rich.markdown import Markdown

        console.print(Markdown(made.page))


def starts(
    data: Annotated[Path, typer.Argument(help="The dataset that the world model learned from.")],
    world: Annotated[Path, typer.Option("--world", help="Folder of the world model.")],
    named: Map = None,
    every: Every = None,
    per_task: Annotated[
        int, typer.Option("--per-task", help="Maximum number of starts of one task.")
    ] = 40,
    out: Out = None,
    seed: Seed = 0,  # every verb takes it; the world model's own seed decides here
    as_json: Json = False,
) -> None:
    """Write the first frames of held-out episodes to a file of starts for `rank`."""
    from worldeval.api.data import read_mixture
    from worldeval.api.learn import starts_of

    path = out or Path("starts.h5")
    (part,) = read_mixture([str(data)], (), [named] if named else (), every)
    count = starts_of(part.open(), world, path, per_task=per_task)
    emit({"out": str(path), "starts": count}, as_json=as_json)
    if not as_json:
        console.print(f"{count} starts in {path}", markup=False)
