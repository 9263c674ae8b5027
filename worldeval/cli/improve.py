"""`worldeval improve`: improve policies using imagination alone, without the simulator."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worldeval.cli.common import (
    MODELS,
    Json,
    Out,
    Seed,
    Sets,
    console,
    emit,
    log,
    settings_of,
    verb,
)

if TYPE_CHECKING:
    from worldeval.api.improvement import Improvement

improve = typer.Typer(
    name="improve", help="Improve policies using imagination alone.", no_args_is_help=True
)

Recipe = Annotated[str, typer.Argument(help="Name or path of an improvement recipe.")]
Policy = Annotated[
    str,
    typer.Option("--policy", help="Folder of the checkpoint to improve.", rich_help_panel=MODELS),
]
AnyPolicy = Annotated[
    str,
    typer.Option(
        "--policy", help="Address of a policy: a checkpoint or code.", rich_help_panel=MODELS
    ),
]
TwoPolicies = Annotated[
    list[str],
    typer.Option(
        "--policy",
        help="Folder of a diffusion or flow checkpoint. Give it twice.",
        rich_help_panel=MODELS,
    ),
]
World = Annotated[
    str | None,
    typer.Option(
        help="Folder of a trained world model, instead of the recipe's.", rich_help_panel=MODELS
    ),
]
JudgeFolder = Annotated[
    str | None,
    typer.Option(
        "--judge",
        help="Folder of a trained judge, instead of the recipe's.",
        rich_help_panel=MODELS,
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="Folder of recorded episodes, used as starts and as demonstrations to mix in.",
        rich_help_panel=MODELS,
    ),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--task", help="Task to improve on. May be repeated. Default: all.", rich_help_panel=MODELS
    ),
]


def register(app: typer.Typer) -> None:
    """Add the `improve` group."""
    app.add_typer(improve)


def sft(
    policy: Policy,
    recipe: Recipe = "improve-sft",
    world: World = None,
    judge: JudgeFolder = None,
    data: Data = None,
    tasks: Tasks = None,
    out: Out = None,
    seed: Seed = 0,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Fine-tune a policy on its imagined successes, in several rounds.

    Writes the dataset of every round (LeRobot v3), the checkpoints, rounds.json and claim.json to
    OUT.
    """
    from worldeval.api import improve as ways

    done = ways.sft(
        policy,
        out or _folder(recipe),
        recipe=recipe,
        world=world,
        judge=judge,
        data=data,
        tasks=tasks,
        settings=settings_of(sets),
        seed=seed,
        say=log.print,
    )
    _tell(done, as_json)


def rl(
    policy: Policy,
    recipe: Recipe = "improve-rl",
    world: World = None,
    judge: JudgeFolder = None,
    data: Data = None,
    tasks: Tasks = None,
    out: Out = None,
    seed: Seed = 0,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Improve a policy by policy gradients over its denoising steps, inside the world model.

    Writes checkpoints, iterations.json, rl.json and claim.json to OUT. Stops early if imagined
    success is not reproduced when the same actions are imagined again.
    """
    from worldeval.api import improve as ways

    done = ways.rl(
        policy,
        out or _folder(recipe),
        recipe=recipe,
        world=world,
        judge=judge,
        data=data,
        tasks=tasks,
        settings=settings_of(sets),
        seed=seed,
        say=log.print,
    )
    _tell(done, as_json)


def pa(
    policy: Policy,
    recipe: Recipe = "improve-pa",
    world: World = None,
    judge: JudgeFolder = None,
    data: Data = None,
    tasks: Tasks = None,
    out: Out = None,
    seed: Seed = 0,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Improve a policy of any head by imitating actions that a critic improved (PA-RL).

    Writes checkpoints, iterations.json, pa.json and claim.json to OUT. Stops early if imagined
    success rises away from replayed actions or from the judge that is left out.
    """
    from worldeval.api import improve as ways

    done = ways.pa(
        policy,
        out or _folder(recipe),
        recipe=recipe,
        world=world,
        judge=judge,
        data=data,
        tasks=tasks,
        settings=settings_of(sets),
        seed=seed,
        say=log.print,
    )
    _tell(done, as_json)


def qgf(
    policy: Policy,
    recipe: Recipe = "improve-qgf",
    world: World = None,
    judge: JudgeFolder = None,
    data: Data = None,
    tasks: Tasks = None,
    out: Out = None,
    seed: Seed = 0,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Guide a policy by a critic's gradients while it acts; the policy is not trained (QGF).

    Its address is OUT/policy.py:policy, for `rank`, `imagine`, `truth` and `improve search`.
    """
    from worldeval.api import improve as ways

    done = ways.qgf(
        policy,
        out or _folder(recipe),
        recipe=recipe,
        world=world,
        judge=judge,
        data=data,
        tasks=tasks,
        settings=settings_of(sets),
        seed=seed,
        say=log.print,
    )
    _tell(done, as_json)


def expo(
    policy: Policy,
    recipe: Recipe = "improve-expo",
    world: World = None,
    judge: JudgeFolder = None,
    data: Data = None,
    tasks: Tasks = None,
    out: Out = None,
    seed: Seed = 0,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Edit a policy's chunks by a small policy, and execute the best by value (EXPO).

    Its address is OUT/policy.py:policy, for `rank`, `imagine`, `truth` and `improve search`.
    """
    from worldeval.api import improve as ways

    done = ways.expo(
        policy,
        out or _folder(recipe),
        recipe=recipe,
        world=world,
        judge=judge,
        data=data,
        tasks=tasks,
        settings=settings_of(sets),
        seed=seed,
        say=log.print,
    )
    _tell(done, as_json)


def sac(
    policy: Policy,
    recipe: Recipe = "improve-sac",
    world: World = None,
    judge: JudgeFolder = None,
    data: Data = None,
    tasks: Tasks = None,
    out: Out = None,
    seed: Seed = 0,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Train a Gaussian policy that begins at another policy, by soft actor-critic (SAC).

    Its address is OUT/policy.py:policy, for `rank`, `imagine`, `truth` and `improve search`.
    """
    from worldeval.api import improve as ways

    done = ways.sac(
        policy,
        out or _folder(recipe),
        recipe=recipe,
        world=world,
        judge=judge,
        data=data,
        tasks=tasks,
        settings=settings_of(sets),
        seed=seed,
        say=log.print,
    )
    _tell(done, as_json)


def search(
    policy: AnyPolicy,
    recipe: Recipe = "improve-search",
    world: World = None,
    judge: JudgeFolder = None,
    data: Data = None,
    tasks: Tasks = None,
    out: Out = None,
    seed: Seed = 0,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Make a policy that imagines several plans at every replan and executes the best one.

    Its address is OUT/policy.py:policy, for `rank`, `imagine`, `truth` and `improve`.
    """
    from worldeval.api import improve as ways

    done = ways.search(
        policy,
        out or _folder(recipe),
        recipe=recipe,
        world=world,
        judge=judge,
        data=data,
        tasks=tasks,
        settings=settings_of(sets),
        seed=seed,
        say=log.print,
    )
    _tell(done, as_json)


def compose(
    policies: TwoPolicies,
    recipe: Recipe = "improve-compose",
    world: World = None,
    judge: JudgeFolder = None,
    data: Data = None,
    tasks: Tasks = None,
    out: Out = None,
    seed: Seed = 0,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Mix the scores of two policies, with the weight that has the highest imagined success.

    The address of the mixture is OUT/policy.py:policy. It is compared with the better of the two.
    """
    from worldeval.api import improve as ways

    done = ways.compose(
        policies,
        out or _folder(recipe),
        recipe=recipe,
        world=world,
        judge=judge,
        data=data,
        tasks=tasks,
        settings=settings_of(sets),
        seed=seed,
        say=log.print,
    )
    _tell(done, as_json)


def _folder(recipe: str) -> Path:
    """Return the default folder of a run."""
    return Path("runs") / Path(recipe).stem


def _tell(done: "Improvement", as_json: bool) -> None:
    emit(done.to_json(), as_json=as_json)
    if not as_json:
        console.print(done.claim.text)
        log.print(f"All numbers are in {done.folder}/claim.json.", style="dim")


verb(improve, "sft", sft, "worldeval improve sft --policy runs/bc/step-400 --out runs/better")
verb(improve, "rl", rl, "worldeval improve rl --policy runs/flow/step-400 --out runs/better")
verb(improve, "pa", pa, "worldeval improve pa --policy runs/bc/step-400 --out runs/better")
verb(improve, "qgf", qgf, "worldeval improve qgf --policy runs/flow/step-400 --out runs/guided")
verb(improve, "expo", expo, "worldeval improve expo --policy runs/flow/step-400 --out runs/edited")
verb(improve, "sac", sac, "worldeval improve sac --policy runs/flow/step-400 --out runs/soft")
verb(improve, "search", search, "worldeval improve search --policy mine.py:make --out runs/search")
verb(
    improve, "compose", compose,
    "worldeval improve compose --policy runs/a/step-1 --policy runs/b/step-1 --out runs/mixed",
)  # fmt: skip
