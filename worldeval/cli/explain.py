"""`worldeval explain`: find where two policies of a run part."""

from pathlib import Path
from typing import Annotated

import typer

from worldeval.cli.common import SAFETY, WORK, Json, Out, Seed, Trust, console, emit, log, verb

WHICH = "Which starts and films"


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    verb(
        app, "explain", explain,
        "worldeval explain runs/demo bc-10/step-1300 bc-1/step-1000",
        panels={
            WHICH: ("task", "starts", "films"), WORK: ("jobs", "simulator"), SAFETY: ("trust_code",)
        },
    )  # fmt: skip


def explain(
    run: Annotated[Path, typer.Argument(help="The folder of a ranking run.")],
    first: Annotated[str, typer.Argument(metavar="A", help="A policy of the run, by its name.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    task: Annotated[str | None, typer.Option("--task", help="Look at this task only.")] = None,
    starts: Annotated[
        int,
        typer.Option(
            "--starts", help="Maximum number of starts at which the verdicts differ.", min=6
        ),
    ] = 40,
    films: Annotated[
        int, typer.Option("--films", help="Number of films, A above B from the same start.", min=0)
    ] = 10,
    simulator: Annotated[
        bool,
        typer.Option(
            "--simulator/--no-simulator",
            help="Repeat the decisive hand-overs in the run's simulator.",
        ),
    ] = True,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", help="Processes of the simulator. Default: all cores.", min=1),
    ] = None,
    trust_pickle: Trust = False,
    trust_code: Annotated[
        bool,
        typer.Option(
            "--trust-code",
            help="Run the run's policies and simulator that are Python code.",
        ),
    ] = False,
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Find where two policies part: the chunk of actions that decides each start, and its phase.

    From every start at which A succeeds and B fails, or the other way round, one of them acts until
    a moment and the other one from there; the chunk at which the outcome flips is the decisive one.
    Writes a page with films and explanation.json to --out, by default in RUN/explain. Refuses pairs
    whose verdicts differ at fewer than six starts, because chance could explain them.
    """
    from dataclasses import asdict

    from worldeval.api.explain import explain as find

    found = find(
        run, first, second, task=task, starts=starts, films=films, simulator=simulator, jobs=jobs,
        trust_pickle=trust_pickle, trust_code=trust_code, out=out, seed=seed,
        progress=lambda text: log.print(text, style="dim", soft_wrap=True),
    )  # fmt: skip
    emit({"page": str(found.page), **asdict(found.explanation)}, as_json=as_json)
    if not as_json:
        for sentence in found.explanation.sentences:
            console.print(sentence, soft_wrap=True)
        log.print(f"The page with the films is {found.page}.", style="dim", soft_wrap=True)
