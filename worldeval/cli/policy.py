"""`worldeval policy`: train policies from demonstrations, and check how they are run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worldeval.cli.common import (
    DATA,
    WORK,
    Every,
    Format,
    Formats,
    Json,
    Map,
    Maps,
    Out,
    Seed,
    Sets,
    Track,
    Trust,
    console,
    counted,
    emit,
    settings_of,
    verb,
)

if TYPE_CHECKING:
    from worldeval.api.check_policies import PolicyCheck

policy = typer.Typer(
    name="policy", help="Train policies, and check how they are run.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add the `policy` group."""
    app.add_typer(policy)


def train(
    recipe: Annotated[str, typer.Argument(help="Name or path of a policy or policy-set recipe.")],
    data: Annotated[
        list[str],
        typer.Option("--data", help="Dataset of demonstrations, in any format. May be repeated."),
    ],
    formats: Formats = None,
    maps: Maps = None,
    every: Every = None,
    out: Out = None,
    seed: Seed = 0,
    jobs: Annotated[
        int,
        typer.Option(
            help="Number of lineages trained at the same time.", min=1, rich_help_panel=WORK
        ),
    ] = 1,
    track: Track = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Train the lineages of a recipe by imitation, and keep checkpoints during training.

    Checkpoints are written to OUT/LINEAGE/step-N. Finished lineages are not trained again.
    """
    from rich.table import Table

    from worldeval.api.data import read_mixture
    from worldeval.api.train import train_policies

    folder = out or Path("runs/policies") / Path(recipe).stem
    with counted("lineages") as done:
        made = train_policies(
            recipe,
            read_mixture(data, formats or (), maps or (), every),
            folder,
            settings=settings_of(sets),
            track=track or (),
            seed=seed,
            jobs=jobs,
            done=done,
        )
    result = [
        {
            "checkpoint": str(kept.folder),
            "lineage": kept.card.lineage,
            "step": kept.card.step,
            "train_loss": kept.card.train_loss,
            "validation_mse": kept.card.validation_mse,
        }
        for kept in made
    ]
    emit(result, as_json=as_json)
    if not as_json:
        table = Table("lineage", "step", "training loss", "validation MSE", "demonstrations")
        for kept in made:
            table.add_row(
                kept.card.lineage,
                str(kept.card.step),
                f"{kept.card.train_loss:.3f}",
                f"{kept.card.validation_mse:.4f}",
                str(sum(kept.card.demos.values())),
            )
        console.print(table)
        console.print(f"{len(made)} checkpoints in {folder}")


def check(
    policies: Annotated[
        list[str],
        typer.Argument(help="Addresses of policies: checkpoints, folders, servers, code."),
    ],
    data: Annotated[
        Path,
        typer.Option(
            "--data", help="Dataset of demonstrations, in any format.", rich_help_panel=DATA
        ),
    ],
    world: Annotated[
        str | None,
        typer.Option(
            "--world",
            help="Folder of a world model; observations are shown in its size and its form of "
            "rotations.",
            rich_help_panel=DATA,
        ),
    ] = None,
    format: Format = None,
    given: Map = None,
    seconds: Annotated[
        float,
        typer.Option(help="Time for the calls of one policy, in seconds.", min=0),
    ] = 120.0,
    out: Out = None,
    seed: Seed = 0,
    trust_pickle: Trust = False,
    as_json: Json = False,
) -> None:
    """Find misread interfaces: swapped channels, cameras, units, rotations or grippers, and others.

    Recorded observations are fed to the policies, and their actions are compared with the
    demonstrators', as they are and after every plausible change of what a policy is given or
    returns. Prints the change that makes them agree, with its gain, or that none does. The exit
    status is 1 if a policy is misread.
    """
    from worldeval.api.check_policies import check_policies

    with counted("changes") as done:
        found = check_policies(
            list(policies),
            data,
            world=world,
            format=format,
            map=given,
            seconds=seconds,
            seed=seed,
            trust_pickle=trust_pickle,
            progress=done,
        )
    emit([each.to_json() for each in found], as_json=as_json, out=out)
    if not as_json:
        for each in found:
            _tell(each)
    if any(each.misread for each in found):
        raise typer.Exit(1)


def _tell(made: "PolicyCheck") -> None:
    """Print what a check found."""
    from rich.table import Table

    about = (
        f"{made.policy}: mean error {made.error:.2f} in spreads of the demonstrators' actions "
        f"({made.shuffled:.2f} with answers to other moments), {made.observations} observations "
        f"of {made.episodes} episodes, {len(made.tried)} changes tried."
    )
    console.print(about, soft_wrap=True)
    if made.misread:
        console.print(
            f"It agrees with the demonstrators if {made.text}.", style="bold yellow", soft_wrap=True
        )
        for effect in made.effects:
            console.print(
                f"  {effect.code}: error {effect.before:.2f} -> {effect.after:.2f}, "
                f"gain {effect.gain} over episodes",
                soft_wrap=True,
            )
        if made.alike:
            console.print(f"  As good: {', '.join(made.alike)}.", soft_wrap=True)
        table = Table("columns", "error as it is", "error after the change", box=None)
        for each in made.columns:
            numbers = (f"{value:.3g} {each.unit}".strip() for value in (each.before, each.after))
            table.add_row(each.columns, *numbers)
        console.print(table)
    else:
        console.print("No change makes it agree better with the demonstrators.", soft_wrap=True)
    for each in made.untried:
        console.print(f"  not tried: {each.code}: {each.reason}", style="dim", soft_wrap=True)


@policy.callback()
def group() -> None:
    """Train policies, and check how they are run."""


verb(policy, "train", train, "worldeval policy train policy-flow --data runs/data --out runs/bc")
verb(
    policy,
    "check",
    check,
    "worldeval policy check lerobot:outputs/act/checkpoints/last --data recordings",
)
