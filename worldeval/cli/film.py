"""`worldeval film`: render imagined episodes of a run for the viewer, labels and reports."""

from pathlib import Path
from typing import Annotated

import typer

from worldeval.cli.common import SAFETY, Json, Out, Seed, console, emit, log, verb

EPISODES = "Which episodes"


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    verb(
        app, "film", film,
        "worldeval film runs/demo bc/step-400/start-3/3",
        "worldeval film runs/demo --draw 20",
        panels={EPISODES: ("draw", "real"), SAFETY: ("trust_pickle", "trust_code")},
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
    import os
    from dataclasses import asdict

    import numpy as np
    from rich.progress import Progress

    from worldeval.errors import UserError
    from worldeval.evaluate import develop as developing
    from worldeval.runs.paths import RunPaths

    wanted = list(episodes or ())
    drawn = developing.draw(run, draw, rng=np.random.default_rng(seed)) if draw else []
    if not wanted and not drawn:
        raise UserError(
            "No episode is given. Name one (POLICY/START/SEED), or draw some with --draw 20."
        )
    made = []
    with Progress(console=log) as bar:
        for names, random in ((wanted, False), (drawn, True)):
            if not names:
                continue
            task = bar.add_task("drawn" if random else "film", total=len(names))
            made += developing.develop(
                run,
                names,
                drawn=random,
                real=real,
                processes=os.cpu_count() or 1,
                trust_pickle=trust_pickle,
                trust_code=trust_code,
                progress=lambda done, total, task=task: bar.update(task, completed=done),
            )
    emit([asdict(strip) for strip in made], as_json=as_json, out=out)
    if not as_json:
        console.print(f"{len(made)} film strips in {RunPaths(run).films}")
