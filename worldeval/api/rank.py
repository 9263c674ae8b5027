"""Roll policies out in a world model (`rank`, `imagine`) and in the simulator (`truth`)."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from worldeval.api.interfaces import check_interfaces
from worldeval.api.live_progress import shown
from worldeval.api.load import (
    Address,
    JudgeArgument,
    PolicyArgument,
    as_list,
    live_policies,
    load_judge,
    load_starts,
    load_world,
    origin,
)
from worldeval.api.request import Request, StartArgument, keep_starts, resolved
from worldeval.api.result import Result
from worldeval.api.run_folder import run_folder
from worldeval.api.spread import evaluation_options
from worldeval.device import compiling
from worldeval.envs.address import unavailable
from worldeval.errors import UserError
from worldeval.evaluate.live import LiveEvaluation
from worldeval.evaluate.located import located
from worldeval.evaluate.manifest import FREE, grown
from worldeval.evaluate.merge import Merged
from worldeval.evaluate.merge import merge as merge_parts
from worldeval.evaluate.pair import check_pair
from worldeval.evaluate.run import Evaluation, Watcher
from worldeval.hub import recorded
from worldeval.judge.protocol import Judge
from worldeval.recipe import shipped
from worldeval.rollout.recipe import ProtocolRecipe
from worldeval.rollout.sampling import check_sampling, sampled_world
from worldeval.runs.origin import open_run
from worldeval.world.world import World


def rank(
    policies: PolicyArgument | None = None,
    world: Address | World | None = None,
    judge: JudgeArgument | None = None,
    starts: StartArgument | None = None,
    *,
    protocol: str | None = None,
    horizon: int | None = None,
    starts_per_task: int | None = None,
    replays: Address | None = None,
    sampler_steps: int | None = None,
    compile: bool = False,
    settings: Mapping[str, Any] | None = None,
    truth: bool | str = False,
    real: Address | None = None,
    validated_by: Address | None = None,
    test: str = "betting",
    check: bool = True,
    data: Address | None = None,
    map: Address | None = None,
    films: int | None = 0,
    out: Address | None = None,
    seed: int = 0,
    trust_pickle: bool = False,
    progress: bool | Watcher = True,
    **spread: Any,
) -> Result:
    """Rank policies by rolling them out in a world model, with intervals and caveats.

    Every policy is rolled out from the same starts with the same seeds, so comparisons are paired.
    Without `out`, everything runs in this process, objects are accepted wherever an address is,
    and errors of a policy are raised. With `out`, the work is spread over processes, saved in that
    folder, and resumed by the same call; errors of a policy are reported in `result.errors`. In a
    script, put a call with `out` under `if __name__ == "__main__":`, because it starts processes.

    A ranking is a hypothesis until it is compared with measured outcomes: see `truth`, `real` and
    `validated_by`.

    Args:
        policies: addresses, globs, folders of checkpoints, live policies, or a list of any of them.
        world: folder of a world model, or one from `load_world`.
        judge: folder or address of a judge (docs/judges.md), or one from `load_judge`; several
            addresses make a panel.
        starts: file of recorded starts, or a list from `load_starts`.
        protocol: name or path of a protocol recipe, which supplies omitted arguments.
        horizon: world frames in an episode (30 without a protocol).
        starts_per_task: maximum number of starts per task.
        replays: file of recorded episodes, replayed to check that failures stay failures.
        sampler_steps: sampler steps of the world model per frame.
        compile: compile the world model where it is loaded from a folder.
        settings: overrides of protocol keys, such as `{"replan_every": 4}`.
        truth: also measure the policies in the protocol's simulator (True), or in the one at this
            address, such as `gym:gym_pusht/PushT-v0?obs_type=pixels_agent_pos`. Starts are then
            the simulator's own.
        real: CSV of real trials (policy, task, start, success) to compare with.
        validated_by: folder of an earlier run that compared this world model and judge with truth.
        test: test for pairs of policies, chosen before looking at results: `betting`, which may be
            read at any time, or `mcnemar`, which needs fewer starts and may be read only once.
        check: check the policies' interfaces first (`check_policies`), where there are recordings:
            `data`, or those of the protocol. A policy that is probably misread is a finding.
        data: recorded episodes of demonstrators, with their `map`, to check interfaces with.
        films: number of episodes to render. None renders ten informative ones, and a success and a
            failure of every policy. Needs `out`.
        out: run folder.
        seed: random seed.
        trust_pickle: load pickled policies; loading a pickle executes code.
        progress: whether to show progress.
        **spread: with `out`: jobs, ray, workers, num_shards, shard_index, redo_changed,
            policy_timeout (seconds for one answer). Always: budget_minutes, budget_rollouts,
            stop_when_separated, allocate.

    Returns:
        The ranking, with its episodes, findings and agreement.

    Raises:
        UserError: an argument is missing or invalid; the message says what to do.

    >>> import worldeval as we
    >>> result = we.rank(
    ...     "toy/policies/a/step-*", "toy/world", "toy/judge", "toy/starts.h5",
    ...     horizon=3, progress=False,
    ... )
    >>> sorted(result.policies["policy"])
    ['a/step-1', 'a/step-2']
    >>> result.findings[0].code
    'no_paired_truth'
    """
    request = Request(
        policies=policies, world=world, judge=judge, starts=starts, protocol=protocol,
        settings=_settings(horizon, starts_per_task, replays, sampler_steps, settings),
        truth=truth if isinstance(truth, str) else "",
    )  # fmt: skip
    if truth and real is not None:
        raise UserError(
            "--truth measures in the simulator, --real reads a file; give only one of them."
        )
    with compiling(compile), shown(progress) as watch, _opened(
        "rank", request, out, seed, trust_pickle, watch, spread
    ) as (run, temporary):  # fmt: skip
        if truth and out is None and not all(isinstance(each, str | Path)
                                             for each in as_list(policies or ())):  # fmt: skip
            raise UserError(
                "truth=True runs policies in separate processes, so it needs their addresses. "
                "Give addresses, or omit truth=."
            )
        run.test = test
        run.check_test()
        # Read before hours of work, so that an error is found early.
        earlier = run.validated(Path(validated_by)) if validated_by is not None else None
        measured = run.real(Path(real)) if real is not None else None
        if truth:
            run.check_truth()
        run.tell_outside()
        if check and run.shard.count == 1:
            run.noted = check_interfaces(run, data=data, given=map)
        imagined = run.imagine()
        simulator = run.recipe.truth
        if truth and simulator is not None and (problem := unavailable(simulator.env)):
            watch.say(f"not measured: {problem}")
        elif truth:
            measured = run.truth()
        if run.shard.count == 1:
            run.summary(imagined, measured, run.gates(), earlier)
            if films != 0 and not temporary:
                run.films(imagined, measured if truth else None, count=films)
    return _result(run, temporary)


def imagine(
    policies: PolicyArgument | None = None,
    world: Address | World | None = None,
    judge: JudgeArgument | None = None,
    starts: StartArgument | None = None,
    *,
    protocol: str | None = None,
    horizon: int | None = None,
    starts_per_task: int | None = None,
    sampler_steps: int | None = None,
    compile: bool = False,
    guided: float | None = None,
    guided_std: float | None = None,
    settings: Mapping[str, Any] | None = None,
    out: Address | None = None,
    seed: int = 0,
    trust_pickle: bool = False,
    progress: bool | Watcher = True,
    **spread: Any,
) -> Result:
    """Roll policies out in a world model and judge the episodes, without ranking them.

    Args:
        guided: sample episodes near the policy instead of executing its actions (`uwm` world
            models): 0 follows the data, a large scale follows the policy. Such episodes are for
            inspection and training; they do not measure the policy.
        guided_std: allowed distance from the policy's actions, in standard deviations of the
            data's actions (0.5).
        policies, world, judge, starts, ...: as in `rank`.

    Returns:
        The episodes: `result.episodes` has a row for each, `result.rollouts()` their latents,
        actions and poses.

    Raises:
        UserError: as `rank`.

    >>> import worldeval as we
    >>> result = we.imagine(
    ...     "toy/policies/a/step-1", "toy/world", "toy/judge", "toy/starts.h5",
    ...     horizon=3, starts_per_task=1, progress=False,
    ... )
    >>> for rollout, verdict in result.rollouts():
    ...     print(rollout.task, rollout.actions.shape, 0 < verdict.probability < 1)
    left (3, 8) True
    right (3, 8) True
    """
    guidance = _given({"guided.scale": guided, "guided.std": guided_std})
    further = {**(settings or {}), **guidance}
    request = Request(
        policies=policies, world=world, judge=judge, starts=starts, protocol=protocol,
        settings=_settings(horizon, starts_per_task, None, sampler_steps, further),
    )  # fmt: skip
    with compiling(compile), shown(progress) as watch, _opened(
        "imagine", request, out, seed, trust_pickle, watch, spread
    ) as (run, temporary):  # fmt: skip
        run.imagine()
    return _result(run, temporary)


def truth(
    policies: PolicyArgument | None = None,
    starts: StartArgument | None = None,
    *,
    protocol: str | None = None,
    horizon: int | None = None,
    starts_per_task: int | None = None,
    settings: Mapping[str, Any] | None = None,
    out: Address,
    seed: int = 0,
    trust_pickle: bool = False,
    progress: bool | Watcher = True,
    **spread: Any,
) -> Result:
    """Roll policies out in the simulator, from the same starts as in imagination.

    Args:
        out: run folder. Policies run in separate processes, so they must be given by address.
        policies, starts, ...: as in `rank`.

    Returns:
        The episodes: `result.simulated` has a row for each.

    Raises:
        UserError: as `rank`; or the simulator is not installed.

    >>> import worldeval as we
    >>> result = we.truth(protocol="mine.yaml", out="runs/truth")  # doctest: +SKIP
    """
    request = Request(
        policies=policies, starts=starts, protocol=protocol, needs_models=False,
        settings=_settings(horizon, starts_per_task, None, None, settings),
    )  # fmt: skip
    with shown(progress) as watch, _opened("truth", request, out, seed, trust_pickle, watch,
                                              spread) as (run, temporary):  # fmt: skip
        run.truth()
    return _result(run, temporary)


def merge(parts: Sequence[Address], out: Address) -> Merged:
    """Merge the parts of a run that were made on several machines.

    Args:
        parts: run folders of `rank(..., num_shards=N, shard_index=I, out=...)`.
        out: folder for the merged run. A later `rank` with this folder completes missing episodes.

    Returns:
        The number of episodes in the merged run.

    Raises:
        UserError: the parts belong to different runs, or disagree.

    >>> import worldeval as we
    >>> we.merge(["toy/run"], "toy/merged").imagined
    12
    """
    return merge_parts([Path(part) for part in parts], Path(out))


@contextmanager
def _opened(
    command: str,
    request: Request,
    out: Address | None,
    seed: int,
    trust_pickle: bool,
    watch: Watcher,
    spread: dict[str, Any],
) -> Iterator[tuple[Evaluation, bool]]:
    """Set up the requested evaluation, in its run folder or in a temporary one."""
    jobs = spread.pop("jobs", None)
    options = evaluation_options(**spread)
    if out is None:
        if jobs not in (None, 1) or options["crew"] is not None or options["shard"].count > 1:
            raise UserError(
                "Without out=, the work is done in this process. Give a run folder as out=."
            )
        scratch = Path(tempfile.mkdtemp(prefix="worldeval-"))
        try:
            yield _in_memory(command, request, scratch, seed, trust_pickle, watch, options), True
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        return
    folder, starts = Path(out), request.addresses(Path(out)).given_starts()
    found = request.recipe(starts)
    _refuse_guided(command, found.config)
    config = grown(found.config, folder, trust_pickle=trust_pickle)
    if config.sampler_steps is not None or config.guided is not None:
        check_sampling(config, Path(shipped(config.world)))
    recipe = resolved(config, found)
    with run_folder(folder, recipe=recipe, seed=seed, command=command, free=FREE):
        if starts is not None:
            keep_starts(folder, starts)
        run = Evaluation(
            recipe=config,
            out=folder,
            seed=seed,
            processes=jobs or os.cpu_count() or 1,
            watch=watch,
            trust_pickle=trust_pickle,
            **options,
        )
        if command != "truth":
            run.check_models()
        yield run, False


def _in_memory(
    command: str,
    request: Request,
    folder: Path,
    seed: int,
    trust_pickle: bool,
    watch: Watcher,
    options: dict[str, Any],
) -> Evaluation:
    if command == "truth":
        raise UserError("The simulator runs in separate processes. Give a run folder as out=.")
    starts = request.given_starts()
    found = request.recipe(starts)
    config = located(found.config)
    _refuse_guided(command, config)
    if starts is None:
        starts = load_starts(config.starts_file, tasks=config.tasks, per_task=config.starts)
    live = isinstance(request.world, World)
    if live and (config.sampler_steps is not None or config.guided is not None):
        raise UserError(
            "sampler_steps and guided are for world models by address: give the folder, or "
            "load_world(folder, sampler_steps=...)."
        )
    world = request.world if isinstance(request.world, World) else _world(config)
    given = request.judge
    judge = given if isinstance(given, Judge) else load_judge(config.judge, world=world)
    policies = live_policies(
        request.policies if request.policies is not None else config.policies,
        trust_pickle=trust_pickle,
    )
    of_world, of_judge = origin(world), origin(judge)
    if live and world.steps != of_world.steps and of_world.folder:
        config = replace(config, sampler_steps=world.steps)
    config = replace(
        config,
        world=of_world.folder,
        judge=of_judge.folder,
        policies=tuple(map(recorded, config.policies)),
    )
    check_pair(config, world.spec, judge)
    recipe = resolved(config, replace(found, config=config))
    open_run(folder, recipe=recipe, seed=seed, command=command, now=datetime.now(UTC))
    return LiveEvaluation(
        recipe=config,
        out=folder,
        seed=seed,
        processes=os.cpu_count() or 1,
        watch=watch,
        trust_pickle=trust_pickle,
        world=world,
        judge=judge,
        policies=policies,
        given=list(starts),
        known={"world": of_world.hash, "judge": of_judge.hash},
        **options,
    )


def _world(config: ProtocolRecipe) -> World:
    if config.guided is not None:
        return sampled_world(config, Path(config.world))
    return load_world(config.world, sampler_steps=config.sampler_steps)


def _refuse_guided(command: str, config: ProtocolRecipe) -> None:
    if command == "rank" and config.guided is not None:
        raise UserError(
            "The protocol uses guided episodes (`guided`), which do not show what a policy alone "
            "would do and cannot rank it. Remove `guided`, or use worldeval imagine."
        )


def _settings(
    horizon: int | None,
    starts: int | None,
    replays: Address | None,
    sampler_steps: int | None,
    further: Mapping[str, Any] | None,
) -> dict[str, Any]:
    named = {
        "horizon": horizon,
        "starts": starts,
        "replays": None if replays is None else str(replays),
        "sampler_steps": sampler_steps,
    }
    return {**(further or {}), **_given(named)}


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the values that are given, so that the others do not hide settings."""
    return {key: value for key, value in values.items() if value is not None}


def _result(run: Evaluation, temporary: bool) -> Result:
    return Result(
        run.out,
        temporary=temporary,
        cards=run.cards,
        errors=run.errors,
        stopped=None if run.spent is None else run.spent.why,
    )
