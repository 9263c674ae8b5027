"""`worldeval rank`, `imagine` and `truth`: policies tried in a world model and in the simulator."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from worldeval.cli.common import (
    Json,
    Out,
    Seed,
    Sets,
    console,
    emit,
    log,
    resumable,
    same_command,
)
from worldeval.cli.sampling import Guided, GuidedStd, SamplerSteps, with_sampling
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
    evaluation_options,
)
from worldeval.cli.watch import Watch

if TYPE_CHECKING:
    import pandas as pd

    from worldeval.evaluate.run import Evaluation

Protocol = Annotated[str, typer.Argument(help="A protocol recipe: name or path.")]
Policies = Annotated[
    list[str] | None,
    typer.Option("--policies", help="Checkpoints, folders or globs, instead of the recipe's."),
]
World = Annotated[str | None, typer.Option(help="Folder of a trained world model.")]
JudgeFolder = Annotated[str | None, typer.Option("--judge", help="Folder of a trained judge.")]
Starts = Annotated[int | None, typer.Option(help="Starts per task.", min=1)]
Trust = Annotated[
    bool, typer.Option("--trust-pickle", help="Read policies that are pickles, which run code.")
]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    for verb in (rank, imagine, truth):
        app.command(verb.__name__)(verb)


def rank(
    protocol: Protocol,
    policies: Policies = None,
    world: World = None,
    judge: JudgeFolder = None,
    starts: Starts = None,
    with_truth: Annotated[
        bool, typer.Option("--truth", help="Also measure the policies in the simulator.")
    ] = False,
    real_csv: Annotated[
        Path | None,
        typer.Option("--real", help="CSV of real trials: policy, task, start, success."),
    ] = None,
    validated_by: Annotated[
        Path | None,
        typer.Option(help="Earlier run that compared this world model and judge with truth."),
    ] = None,
    test: Annotated[
        str,
        typer.Option(
            help="Test of two policies, chosen before looking: betting, which may be looked at at "
            "any time, or mcnemar, which needs fewer starts and may be read once."
        ),
    ] = "betting",
    films: Annotated[
        int | None,
        typer.Option(
            help="Roll-outs to keep as pictures; without it ten telling ones, and a success and a "
            "failure of every policy.",
            min=0,
        ),
    ] = None,
    sampler_steps: SamplerSteps = None,
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
    """Rank policies by rolling them out in a world model, with intervals and refusals.

    The same command again does only what is missing; with more policies or starts it extends the
    run. Ends with 1 where some episodes have no outcome because a policy broke.

    A ranking is a hypothesis until something real was compared with it: the simulator (--truth),
    real trials of some of the policies (--real), or other policies in an earlier run
    (--validated-by).
    """
    from worldeval.envs.address import unavailable
    from worldeval.errors import UserError
    from worldeval.run import read_json

    options = evaluation_options(
        ray=ray,
        workers=workers,
        num_shards=num_shards,
        shard_index=shard_index,
        minutes=budget_minutes,
        rollouts=budget_rollouts,
        stop_when_separated=stop_when_separated,
        allocate=allocate,
        redo_changed=redo_changed,
        policy_timeout=policy_timeout,
    )
    if with_truth and real_csv is not None:
        raise UserError("--truth asks the simulator, --real a file: give one of them.")
    with resumable(), Watch(log, as_json=as_json) as watch:
        sets = with_sampling(sets, sampler_steps)
        asked = RankRequest(
            protocol, policies, world, judge, starts, out, seed, jobs, sets, trust_pickle
        )
        run = _open("rank", asked, watch, {**options, "test": test})
        run.check_test()
        # Read before hours of work, so that a mistake costs none of them.
        earlier = run.validated(validated_by) if validated_by is not None else None
        real = run.real(real_csv) if real_csv is not None else None
        imagined = run.imagine()
        truth = run.recipe.truth
        if with_truth and truth is not None and (problem := unavailable(truth.env)):
            watch.say(f"no truth: {problem}")
        elif with_truth:
            real = run.truth()
        summary = None
        if num_shards == 1:
            summary = run.summary(imagined, real, run.gates(), earlier)
        if films != 0 and num_shards == 1:
            run.films(imagined, real if with_truth else None, count=films)
    if summary is None:
        _tell_shard(run, imagined, num_shards, as_json)
    elif as_json:
        emit(read_json(run.paths.summary), as_json=True)
    else:
        from worldeval.cli.tables import print_summary

        print_summary(console, summary, run.cards)
        log.print(f"{run.paths.summary} holds every number.", style="dim")
    _tell_rest(run)


def imagine(
    protocol: Protocol,
    policies: Policies = None,
    world: World = None,
    judge: JudgeFolder = None,
    starts: Starts = None,
    sampler_steps: SamplerSteps = None,
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
    """Roll policies out in a world model and judge them; prints the predicted success.

    With --guided (policy-guided diffusion) actions and frames are drawn together, between data and
    policy: episodes to look at, to export and to train on, and no measure of the policy.
    """
    from worldeval.runs.paths import IMAGINED

    options = evaluation_options(
        ray=ray,
        workers=workers,
        num_shards=num_shards,
        shard_index=shard_index,
        minutes=budget_minutes,
        redo_changed=redo_changed,
        policy_timeout=policy_timeout,
    )
    with resumable(), Watch(log, as_json=as_json) as watch:
        sets = with_sampling(sets, sampler_steps, guided, guided_std)
        asked = RankRequest(
            protocol, policies, world, judge, starts, out, seed, jobs, sets, trust_pickle
        )
        run = _open("imagine", asked, watch, options)
        table = run.imagine()
    _rates(table, "score", run.paths.outcomes(IMAGINED), as_json)
    _tell_rest(run)


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
    """Measure the same policies from the same starts in the simulator."""
    from worldeval.runs.paths import TRUTH

    options = evaluation_options(
        num_shards=num_shards,
        shard_index=shard_index,
        redo_changed=redo_changed,
        policy_timeout=policy_timeout,
    )
    with resumable(), Watch(log, as_json=as_json) as watch:
        asked = RankRequest(
            protocol, policies, None, None, starts, out, seed, jobs, sets, trust_pickle
        )
        run = _open("truth", asked, watch, options)
        table = run.truth()
    _rates(table, "success", run.paths.outcomes(TRUTH), as_json)


class RankRequest(NamedTuple):
    """What every verb here is given."""

    protocol: str
    policies: list[str] | None
    world: str | None
    judge: str | None
    starts: int | None
    out: Path | None
    seed: int
    jobs: int | None
    sets: list[str] | None
    trust_pickle: bool


def _open(command: str, asked: RankRequest, watch: Watch, options: dict[str, Any]) -> "Evaluation":
    import os

    from worldeval import recipe as recipes
    from worldeval.errors import UserError
    from worldeval.evaluate.manifest import FREE, grown
    from worldeval.evaluate.run import Evaluation
    from worldeval.policy.address import refuse_code
    from worldeval.runs.origin import open_run

    changed = [*(asked.sets or ())]
    for key, value in (("world", asked.world), ("judge", asked.judge), ("starts", asked.starts)):
        if value is not None:
            changed.append(f"{key}={value}")
    if asked.policies:
        # Quoted: addresses hold what YAML would read as its own marks.
        changed.append(f"policies={json.dumps(list(asked.policies))}")
    found = recipes.load(asked.protocol, "protocol", changed)
    if command == "rank" and found.config.guided is not None:
        raise UserError(
            "The protocol guides episodes (`guided`): they are not what a policy alone would do, "
            "and cannot rank it. Leave `guided` out, or use worldeval imagine."
        )
    if not any(each.startswith("policies=") for each in changed):
        refuse_code(found.config.policies, found.path)
    folder = asked.out or Path("runs") / found.name
    config = grown(found.config, folder, trust_pickle=asked.trust_pickle)
    if config.sampler_steps is not None or config.guided is not None:
        from worldeval.rollout.sampling import check_sampling

        check_sampling(config, Path(recipes.shipped(config.world)))  # before a run is begun
    open_run(
        folder,
        recipe={**found.resolved(), "policies": list(config.policies)},
        seed=asked.seed,
        command=command,
        resume=True,
        free=FREE,
    )
    return Evaluation(
        recipe=config,
        out=folder,
        seed=asked.seed,
        processes=asked.jobs or os.cpu_count() or 1,
        watch=watch,
        trust_pickle=asked.trust_pickle,
        **options,
    )


def _tell_shard(run: "Evaluation", imagined: "pd.DataFrame", count: int, as_json: bool) -> None:
    if as_json:
        emit({"run": str(run.out), "episodes": len(imagined)}, as_json=True)
        return
    console.print(
        f"{run.out} holds {len(imagined)} episodes. With the other {count - 1} parts: "
        "worldeval merge PART... --out RUN, then this command with --out RUN and without the "
        "options of shards.",
        soft_wrap=True,
    )


def _tell_rest(run: "Evaluation") -> None:
    """What is missing and how to go on; ends with 1 where a policy broke."""
    if run.spent is not None and run.spent.why == "time is up":
        log.print(f"The time is up. To go on:\n  {same_command()}", markup=False, soft_wrap=True)
    for policy, error in run.errors.items():
        log.print(
            f"{policy}: some episodes have no outcome, which counts as no failure: {error}",
            markup=False,
            soft_wrap=True,
        )
    if run.errors:
        log.print(f"To try them again:\n  {same_command()}", markup=False, soft_wrap=True)
        raise typer.Exit(1)


def _rates(table, column: str, path: Path, as_json: bool) -> None:
    rates = table.groupby(["policy", "task"])[column].agg(["mean", "count"]).reset_index()
    rows = [
        {
            "policy": row["policy"],
            "task": row["task"],
            "rate": float(row["mean"]),
            "episodes": int(row["count"]),
        }
        for row in rates.to_dict("records")
    ]
    if as_json:
        emit({"outcomes": str(path), "rates": rows}, as_json=True)
        return
    wide = rates.pivot(index="policy", columns="task", values="mean")
    wide["mean"] = wide.mean(axis=1)
    console.print(wide.sort_values("mean", ascending=False).round(3).to_string())
    log.print(f"{path} holds every episode.", style="dim")
