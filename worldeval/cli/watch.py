"""`worldeval watch`: compare each new checkpoint of a training run with the best one so far."""

from typing import TYPE_CHECKING, Annotated

import typer

from worldeval.cli.common import (
    BUDGET,
    MODELS,
    OUTPUT,
    Json,
    Out,
    Seed,
    Sets,
    Trust,
    console,
    emit,
    log,
    resumable,
    settings_of,
    verb,
)
from worldeval.cli.rank import Judges, Starts, World
from worldeval.cli.spread import Jobs, PolicyTimeout

if TYPE_CHECKING:
    from worldeval.api.watch import WatchedCheckpoint, WatchedTraining

WORSE = 3  # exit status; 1 and 2 are errors
WATCHING = "When to look"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    verb(
        app, "watch", watch,
        "worldeval watch outputs/act --protocol lab --budget-minutes 10 --track wandb",
        "worldeval watch runs/pull-request --baseline runs/main/step-2400 --protocol lab --once",
    )  # fmt: skip


def watch(
    training_folder: Annotated[
        str,
        typer.Argument(
            help="Folder that training writes checkpoints to (worldeval's or LeRobot's), or a glob."
        ),
    ],
    protocol: Annotated[
        str,
        typer.Option(
            help="Name or path of a protocol recipe, or the folder of a lab.",
            rich_help_panel=MODELS,
        ),
    ] = "lab",
    baseline: Annotated[
        str | None,
        typer.Option(
            help="Policy that is the best one at the beginning. Default: the first checkpoint.",
            rich_help_panel=MODELS,
        ),
    ] = None,
    world: World = None,
    judge: Judges = None,
    starts: Starts = None,
    budget_minutes: Annotated[
        float | None,
        typer.Option(
            help="Maximum minutes of imagining per checkpoint.", min=0, rich_help_panel=BUDGET
        ),
    ] = None,
    budget_rollouts: Annotated[
        int | None,
        typer.Option(
            help="Maximum number of roll-outs per comparison, of both policies together.",
            min=2,
            rich_help_panel=BUDGET,
        ),
    ] = None,
    once: Annotated[
        bool,
        typer.Option(
            "--once",
            help="Compare the checkpoints that are there now, and end.",
            rich_help_panel=WATCHING,
        ),
    ] = False,
    idle_minutes: Annotated[
        float | None,
        typer.Option(
            help="End after this many minutes without a new checkpoint. Default: watch until "
            "Ctrl-C.",
            min=0,
            rich_help_panel=WATCHING,
        ),
    ] = None,
    poll_seconds: Annotated[
        float,
        typer.Option(
            help="Seconds between two looks at the folder.", min=0.1, rich_help_panel=WATCHING
        ),
    ] = 30.0,
    track: Annotated[
        list[str] | None,
        typer.Option(
            "--track",
            help="Send every verdict to a tracker: tensorboard, wandb, trackio... May be repeated.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    out: Out = None,
    seed: Seed = 0,
    jobs: Jobs = None,
    policy_timeout: PolicyTimeout = 600.0,
    trust_pickle: Trust = False,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Compare each new checkpoint of a training run with the best one so far.

    Both are rolled out in the world model from the same starts, until they are separated, the
    budget is used up or no start is left. The verdict is better, worse or tied; a better checkpoint
    becomes the best one. All verdicts of a training are right together with a probability of 95%,
    however many checkpoints appear and however often they are looked at.

    The exit status is that of the newest checkpoint: 0 if it is better or tied, 3 if it is worse.
    It is 1 if a checkpoint could not be compared. Run the command again to continue, also after
    --once.
    """
    from worldeval.api.live_progress import LiveProgress
    from worldeval.api.watch import watch as watched

    say = log if as_json else console
    with resumable(), LiveProgress(log, as_json=as_json) as display:
        result = watched(
            training_folder,
            protocol,
            world=world,
            judge=judge or None,
            baseline=baseline,
            starts_per_task=starts,
            settings=settings_of(sets),
            budget_minutes=budget_minutes,
            budget_rollouts=budget_rollouts,
            once=once,
            idle_minutes=idle_minutes,
            poll_seconds=poll_seconds,
            track=track or (),
            out=out,
            seed=seed,
            jobs=jobs,
            policy_timeout=policy_timeout,
            trust_pickle=trust_pickle,
            heard=lambda found: say.print(_sentence(found), soft_wrap=True),
            progress=display,
        )
    _end(result, as_json)


def _sentence(found: "WatchedCheckpoint") -> str:
    """Format a verdict as one line."""
    success, apart = found.success, found.difference
    rate = "unknown" if success.value is None else f"{success.value:.2f}"
    if apart is None:
        return f"{found.policy}: the first checkpoint, predicted success {rate}"
    words = {"better": "better than", "worse": "worse than", "tied": "tied with"}
    between = (
        "no start of every task was finished; increase the budget"
        if apart.value is None
        else f"difference {_signed(apart.value)} [{_signed(apart.low)}, {_signed(apart.high)}], "
        f"{apart.n} shared starts"
    )
    return (
        f"{found.policy}: {words[found.verdict]} {found.against}, predicted success {rate} "
        f"({between})"
    )


def _signed(value: float | None) -> str:
    """Format a difference; zero has no minus sign."""
    return "unknown" if value is None else f"{round(value, 2) + 0.0:+.2f}"


def _end(result: "WatchedTraining", as_json: bool) -> None:
    if as_json:
        from dataclasses import asdict

        emit({**asdict(result), "best": result.best}, as_json=True)
    elif result.last is None:
        console.print("There is no checkpoint yet.")
    else:
        console.print(f"The best checkpoint is {result.best}.", soft_wrap=True)
        log.print(f"The verdicts are in {result.run / 'watch.json'}.", style="dim")
    if result.errors:
        raise typer.Exit(1)
    if result.last is not None and result.last.verdict == "worse":
        raise typer.Exit(WORSE)
