"""`worldeval next`: choose which policy to try next on the robot, and from which start."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from worldeval.cli.common import Json, Out, Seed, console, emit, log, resumable, verb
from worldeval.errors import UserError

if TYPE_CHECKING:
    from worldeval.api.next_trials import Advice

TRIALS, RULE = "Trials", "When to stop"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    verb(
        app, "next", next_trials, "worldeval next runs/demo --trials 10 --ask",
        panels={
            TRIALS: ("trials", "real", "by_value", "ask"),
            RULE: ("regret", "confidence", "phi"),
        },
    )  # fmt: skip


def next_trials(
    run: Annotated[Path, typer.Argument(help="Folder of a finished `worldeval rank`.")],
    trials: Annotated[
        int, typer.Option("--trials", help="Number of open trials to keep in the schedule.")
    ] = 20,
    real: Annotated[
        Path | None,
        typer.Option(
            "--real",
            help="CSV of trials made outside the schedule: policy, task, start, success (0 or 1).",
        ),
    ] = None,
    regret: Annotated[
        float,
        typer.Option(
            "--regret", help="Acceptable loss in success rate compared with the best policy."
        ),
    ] = 0.05,
    confidence: Annotated[
        float,
        typer.Option(
            "--confidence",
            help="Stop once the choice is within --regret of the best with this probability.",
        ),
    ] = 0.9,
    phi: Annotated[
        float | None,
        typer.Option(
            "--phi",
            help="Real trials that an imagined rate is worth. Default: as measured by the run.",
        ),
    ] = None,
    by_value: Annotated[
        bool,
        typer.Option(
            "--by-value",
            help="Predict success from every start, given the policy's other results, and spread "
            "its trials over easy and hard starts. Rates stay unbiased and vary less.",
        ),
    ] = False,
    ask: Annotated[
        bool,
        typer.Option(
            "--ask", help="Ask for the outcomes of the open trials in the terminal, one by one."
        ),
    ] = False,
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Choose which policies to try next on the robot, to find the best one with few trials.

    Writes a blinded schedule in random order (CSV, and HTML to print) to RUN/next or --out. Fill in
    its column `success` and run the same command again, or enter the outcomes with --ask.
    """
    from worldeval.api.next_trials import next_trials as choose

    def chosen() -> "Advice":
        return choose(
            run,
            out,
            trials=trials,
            real=real,
            regret=regret,
            confidence=confidence,
            phi=phi,
            by_value=by_value,
            seed=seed,
        )

    if ask and as_json:
        raise UserError("--ask and --json cannot be combined; give one of them.")
    advice = chosen()
    if ask:
        with resumable():
            _ask(advice)
        advice = chosen()
    emit({**asdict(advice), "open": advice.open}, as_json=as_json)
    if not as_json:
        _print(advice)


def _ask(advice: "Advice") -> None:
    """Ask for the outcome of every open trial: y, n, or q to stop. Answers are saved at once."""
    from worldeval.api.next_trials import answered

    for trial in [trial for trial in advice.schedule if trial.success is None]:
        where = f"trial {trial.number}: policy {trial.code}, {trial.task}, start {trial.start}"
        while True:
            said = typer.prompt(f"{where} - success? [y/n/q]").strip().lower()
            if said in ("y", "n", "q"):
                break
        if said == "q":
            break
        advice = answered(advice, trial.number, said == "y")


def _print(advice: "Advice") -> None:
    table = Table(title="trials so far", title_justify="left")
    table.add_column("policy", no_wrap=True)
    for column in ("predicted", "successes", "trials", "waiting"):
        table.add_column(column, justify="right")
    for each in advice.candidates:
        counts = (str(each.successes), str(each.trials), str(each.waiting))
        table.add_row(each.policy, f"{each.predicted:.3f}", *counts)
    console.print(table)
    worth = (
        "as measured by this run"
        if advice.validated
        else "a cautious assumption, because nothing was validated"
    )
    log.print(
        f"An imagined rate is worth {advice.phi:.0f} real trials ({worth}).",
        soft_wrap=True,
    )
    if advice.by_value:
        _print_values(advice)
    verdict = (
        f"{advice.chosen} is within {advice.regret:g} of the best with probability "
        f"{advice.confidence:.2f}"
    )
    if advice.enough:
        console.print(f"Enough: {verdict}. No further trials are needed.")
        return
    console.print(f"{verdict}. Continue with the schedule.")
    console.print(
        f"{advice.open} open trials are in {advice.folder}/schedule.csv (to print: schedule.html). "
        "Fill in the column `success` and run the same command again.",
        soft_wrap=True,
    )


def _print_values(advice: "Advice") -> None:
    """Say how well success is predicted from starts."""
    check = advice.value_check
    if check is None:
        log.print(
            "Too few measured outcomes for V0: starts are ordered by imagined success.",
            soft_wrap=True,
        )
        return
    log.print(
        f"V0 on {check.n} results of policies left out, given {check.context} of theirs: Brier "
        f"score {check.brier:.3f} (their rate alone: {check.brier_of_rate:.3f}), calibration error "
        f"{check.error:.3f}.",
        soft_wrap=True,
    )
    table = Table("predicted", "mean", "measured", "results", box=None)
    for each in check.bins:
        span = f"{each.low:.1f}-{each.high:.1f}"
        table.add_row(span, f"{each.predicted:.2f}", f"{each.measured:.2f}", str(each.n))
    log.print(table)
