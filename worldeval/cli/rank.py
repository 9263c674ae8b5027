"""`worldeval rank`, `imagine` and `truth`: roll policies out in a world model and a simulator."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worldeval.cli.common import (
    MODELS,
    OUTPUT,
    TRUTH,
    Json,
    Map,
    Out,
    Seed,
    Sets,
    Trust,
    WithExample,
    console,
    emit,
    log,
    resumable,
    same_command,
    settings_of,
    verb,
)
from worldeval.cli.sampling import Compile, Guided, GuidedStd, SamplerSteps
from worldeval.cli.spread import (
    Allocate,
    Jobs,
    Minutes,
    PolicyTimeout,
    Ray,
    Redo,
    Rollouts,
    Separated,
    ShardIndex,
    Shards,
    Workers,
)

if TYPE_CHECKING:
    import pandas as pd

    from worldeval.api.result import Result

Protocol = Annotated[str, typer.Argument(help="Name or path of a protocol recipe.")]
Policies = Annotated[
    list[str] | None,
    typer.Option(
        "--policies",
        help="Policies to use instead of the recipe's: checkpoints, folders, globs or other "
        "addresses. May be repeated.",
        rich_help_panel=MODELS,
    ),
]
World = Annotated[
    str | None,
    typer.Option(
        help="Folder of a trained world model, instead of the recipe's.", rich_help_panel=MODELS
    ),
]
Judges = Annotated[
    list[str] | None,
    typer.Option(
        "--judge",
        help="Folder of a trained judge, vlm:URL?model=NAME, ./mine.py:make, ws://HOST or "
        "rule:EXPRESSION, instead of the recipe's. Repeated: a panel.",
        rich_help_panel=MODELS,
    ),
]
Starts = Annotated[
    int | None, typer.Option(help="Number of starts per task.", min=1, rich_help_panel=MODELS)
]


class WithTruth(WithExample):
    """Accepts `--truth` with and without an address."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Add an empty address where `--truth` is followed by none."""
        return super().parse_args(ctx, addressed(args))


def addressed(args: list[str]) -> list[str]:
    """Put an empty text after a `--truth` without an address.

    What follows is no address if it is an option, or if it is the protocol.
    """
    if "--truth" not in args:
        return args
    from worldeval.api.recipes import is_protocol

    out: list[str] = []
    for place, each in enumerate(args):
        out.append(each)
        if each != "--truth":
            continue
        after = args[place + 1] if place + 1 < len(args) else "-"
        first = not any(map(is_protocol, args[:place]))
        if after.startswith("-") or (first and is_protocol(after)):
            out.append("")
    return out


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    verb(
        app, "rank", rank,
        "worldeval rank mine.yaml --policies 'runs/bc/step-*' --out runs/mine",
        "worldeval rank lab --policies ./mine.py:make --truth 'gym:gym_pusht/PushT-v0'",
        cls=WithTruth,
    )  # fmt: skip
    verb(app, "imagine", imagine, "worldeval imagine mine.yaml --starts 5 --out runs/look")
    verb(app, "truth", truth, "worldeval truth mine.yaml --out runs/demo")


def rank(
    protocol: Protocol,
    policies: Policies = None,
    world: World = None,
    judge: Judges = None,
    starts: Starts = None,
    with_truth: Annotated[
        str | None,
        typer.Option(
            "--truth",
            metavar="[ADDRESS]",
            help="Also measure the policies in the protocol's simulator, or in the one at ADDRESS: "
            "gym:ID?param=value or ./sim.py:make.",
            rich_help_panel=TRUTH,
        ),
    ] = None,
    real_csv: Annotated[
        Path | None,
        typer.Option(
            "--real",
            help="CSV of real trials with columns policy, task, start and success.",
            rich_help_panel=TRUTH,
        ),
    ] = None,
    validated_by: Annotated[
        Path | None,
        typer.Option(
            help="Earlier run that compared this world model and judge with the simulator or with "
            "real trials.",
            rich_help_panel=TRUTH,
        ),
    ] = None,
    test: Annotated[
        str,
        typer.Option(
            help="Test of two policies, chosen before looking: betting, which may be looked at at "
            "any time, or mcnemar, which needs fewer starts and may be read once.",
            rich_help_panel=TRUTH,
        ),
    ] = "betting",
    check: Annotated[
        bool,
        typer.Option(
            "--check/--no-check",
            help="First check the policies' interfaces on recorded observations, if there are any "
            "(worldeval policy check).",
            rich_help_panel=MODELS,
        ),
    ] = True,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Dataset of demonstrations to check interfaces with, instead of the protocol's.",
            rich_help_panel=MODELS,
        ),
    ] = None,
    given: Map = None,
    films: Annotated[
        int | None,
        typer.Option(
            help="Number of roll-outs to render as film strips. Default: ten informative ones, and "
            "a success and a failure of every policy.",
            min=0,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    sampler_steps: SamplerSteps = None,
    compile: Compile = False,
    out: Out = None,
    seed: Seed = 0,
    jobs: Jobs = None,
    ray: Ray = None,
    workers: Workers = None,
    num_shards: Shards = 1,
    shard_index: ShardIndex = 0,
    budget_minutes: Minutes = None,
    budget_rollouts: Rollouts = None,
    stop_when_separated: Separated = False,
    allocate: Allocate = "even",
    redo_changed: Redo = False,
    policy_timeout: PolicyTimeout = 600.0,
    trust_pickle: Trust = False,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Rank policies by rolling them out in a world model, with intervals and caveats.

    Running the command again does only the missing work; more policies or starts extend the run.
    The exit status is 1 if a policy failed, so that some of its episodes have no outcome.

    A ranking is a hypothesis until it is compared with measured outcomes: from the simulator
    (--truth), from real trials of some of the policies (--real), or of other policies in an earlier
    run (--validated-by).
    """
    from worldeval.api.live_progress import LiveProgress
    from worldeval.api.rank import rank as ranked
    from worldeval.api.tables import renderables

    with resumable(), LiveProgress(log, as_json=as_json) as watch:
        result = ranked(
            policies or None,
            world,
            judge or None,
            protocol=protocol,
            starts_per_task=starts,
            sampler_steps=sampler_steps,
            compile=compile,
            settings=settings_of(sets),
            truth=False if with_truth is None else with_truth or True,
            real=real_csv,
            validated_by=validated_by,
            test=test,
            check=check,
            data=data,
            map=given,
            films=films,
            out=out or _folder(protocol),
            seed=seed,
            jobs=jobs,
            ray=ray,
            workers=workers,
            num_shards=num_shards,
            shard_index=shard_index,
            budget_minutes=budget_minutes,
            budget_rollouts=budget_rollouts,
            stop_when_separated=stop_when_separated,
            allocate=allocate,
            redo_changed=redo_changed,
            policy_timeout=policy_timeout,
            trust_pickle=trust_pickle,
            progress=watch,
        )
    if num_shards > 1:
        _tell_shard(result, num_shards, as_json)
    elif as_json:
        emit(result.to_json(), as_json=True)
    else:
        for each in renderables(result):
            console.print(each)
        log.print(f"All numbers are in {result.paths.summary}.", style="dim")
    _tell_rest(result)


def imagine(
    protocol: Protocol,
    policies: Policies = None,
    world: World = None,
    judge: Judges = None,
    starts: Starts = None,
    sampler_steps: SamplerSteps = None,
    compile: Compile = False,
    guided: Guided = None,
    guided_std: GuidedStd = None,
    out: Out = None,
    seed: Seed = 0,
    jobs: Jobs = None,
    ray: Ray = None,
    workers: Workers = None,
    num_shards: Shards = 1,
    shard_index: ShardIndex = 0,
    budget_minutes: Minutes = None,
    redo_changed: Redo = False,
    policy_timeout: PolicyTimeout = 600.0,
    trust_pickle: Trust = False,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Roll policies out in a world model, judge them, and print the predicted success.

    With --guided (policy-guided diffusion), actions and frames are sampled jointly, between the
    data and the policy. Such episodes are for inspection, export and training; they do not measure
    the policy.
    """
    from worldeval.api.live_progress import LiveProgress
    from worldeval.api.rank import imagine as imagined
    from worldeval.api.tables import task_rates

    with resumable(), LiveProgress(log, as_json=as_json) as watch:
        result = imagined(
            policies or None,
            world,
            judge or None,
            protocol=protocol,
            starts_per_task=starts,
            sampler_steps=sampler_steps,
            compile=compile,
            guided=guided,
            guided_std=guided_std,
            settings=settings_of(sets),
            out=out or _folder(protocol),
            seed=seed,
            jobs=jobs,
            ray=ray,
            workers=workers,
            num_shards=num_shards,
            shard_index=shard_index,
            budget_minutes=budget_minutes,
            redo_changed=redo_changed,
            policy_timeout=policy_timeout,
            trust_pickle=trust_pickle,
            progress=watch,
        )
    _rates(task_rates(result.episodes, "score"), result.paths.outcomes("imagined"), as_json)
    _tell_rest(result)


def truth(
    protocol: Protocol,
    policies: Policies = None,
    starts: Starts = None,
    out: Out = None,
    seed: Seed = 0,
    jobs: Jobs = None,
    num_shards: Shards = 1,
    shard_index: ShardIndex = 0,
    redo_changed: Redo = False,
    policy_timeout: PolicyTimeout = 600.0,
    trust_pickle: Trust = False,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Roll the same policies out in the simulator, from the same starts."""
    from worldeval.api.live_progress import LiveProgress
    from worldeval.api.rank import truth as measured
    from worldeval.api.tables import task_rates

    with resumable(), LiveProgress(log, as_json=as_json) as watch:
        result = measured(
            policies or None,
            protocol=protocol,
            starts_per_task=starts,
            settings=settings_of(sets),
            out=out or _folder(protocol),
            seed=seed,
            jobs=jobs,
            num_shards=num_shards,
            shard_index=shard_index,
            redo_changed=redo_changed,
            policy_timeout=policy_timeout,
            trust_pickle=trust_pickle,
            progress=watch,
        )
    _rates(task_rates(result.simulated, "success"), result.paths.outcomes("truth"), as_json)


def _folder(protocol: str) -> Path:
    """Return the default folder of a run."""
    return Path("runs") / Path(protocol).stem


def _tell_shard(result: "Result", count: int, as_json: bool) -> None:
    episodes = len(result.episodes)
    if as_json:
        emit({"run": str(result.folder), "episodes": episodes}, as_json=True)
        return
    console.print(
        f"{result.folder} contains {episodes} episodes. To merge the other {count - 1} parts: "
        "worldeval merge PART... --out RUN, then this command with --out RUN and without "
        "--num-shards and --shard-index.",
        soft_wrap=True,
    )


def _tell_rest(result: "Result") -> None:
    """Say what is missing and how to continue; exit with status 1 if a policy failed."""
    if result.stopped == "time is up":
        log.print(f"The time budget is used up. To continue:\n  {same_command()}", soft_wrap=True)
    for policy, error in result.errors.items():
        log.print(
            f"{policy}: some episodes could not be completed; they are excluded, not counted as "
            f"failures: {error}",
            soft_wrap=True,
        )
    if result.errors:
        log.print(f"To retry them:\n  {same_command()}", soft_wrap=True)
        raise typer.Exit(1)


def _rates(rates: "pd.DataFrame", path: Path, as_json: bool) -> None:
    if as_json:
        emit({"outcomes": path, "rates": rates.to_dict("records")}, as_json=True)
        return
    if not rates.empty:
        wide = rates.pivot(index="policy", columns="task", values="rate")
        wide["mean"] = wide.mean(axis=1)
        console.print(wide.sort_values("mean", ascending=False).round(3).to_string())
    log.print(f"All episodes are in {path}.", style="dim")
