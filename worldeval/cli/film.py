"""`worldeval film`: render imagined episodes of a run for the viewer, labels and reports."""

from pathlib import Path
from typing import Annotated

import typer

from worldeval.cli.common import SAFETY, Json, Out, Seed, console, counted, emit, verb

EPISODES = "Which episodes"


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    verb(
        app, "film", film,
        "worldeval film runs/demo bc/step-400/start-3/3",
        "worldeval film runs/demo --draw 20",
        "worldeval film runs/demo --important 20",
        panels={EPISODES: ("draw", "important", "real"), SAFETY: ("trust_pickle", "trust_code")},
    )  # fmt: skip


def film(
    run: Annotated[Path, typer.Argument(help="The folder of a ranking run.")],
    episodes: Annotated[
        list[str] | None,
        typer.Argument(
            help="Episodes to render, as POLICY/START/SEED (the viewer shows these names)."
        ),
    ] = None,
    draw: Annotated[
        int,
        typer.Option(
            "--draw", help="Number of additional random episodes to render for labelling.", min=0
        ),
    ] = 0,
    important: Annotated[
        int,
        typer.Option(
            "--important",
            help="Number of further episodes to render whose labels matter most (worldeval view "
            "RUN --label asks for them).",
            min=0,
        ),
    ] = 0,
    real: Annotated[
        bool,
        typer.Option(
            "--real", help="Also run the episodes in the simulator and show them side by side."
        ),
    ] = False,
    trust_pickle: Annotated[
        bool,
        typer.Option(
            "--trust-pickle",
            help="Load pickled policies. Loading a pickle executes any code that it contains.",
        ),
    ] = False,
    trust_code: Annotated[
        bool,
        typer.Option(
            "--trust-code", help="Allow the run's policies that are Python code to be executed."
        ),
    ] = False,
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Render imagined episodes as film strips; --out also writes a list of them as JSON."""
    from dataclasses import asdict

    from worldeval.api.film import film as rendered

    with counted("film strips") as progress:
        made = rendered(
            run,
            episodes or (),
            draw=draw,
            important=important,
            real=real,
            trust_pickle=trust_pickle,
            trust_code=trust_code,
            seed=seed,
            progress=progress,
        )
    emit([asdict(strip) for strip in made.strips], as_json=as_json, out=out)
    if not as_json:
        console.print(f"{len(made.strips)} film strips in {made.folder}")
