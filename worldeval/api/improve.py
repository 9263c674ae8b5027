"""Improve policies using imagination alone: `worldeval.improve.sft`, `rl`, `pa` and others.

Each function works inside the world model, compares the result with the initial policy on held-out
starts, and claims only what the gates support. The simulator is never used, and the given policies
are not changed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from worldeval import __version__
from worldeval.api.improve_by_value import expo, pa, qgf, sac
from worldeval.api.improvement import Asked, Improvement, Say
from worldeval.api.load import Address
from worldeval.errors import UserError
from worldeval.export.dataset import export_episodes
from worldeval.files import write_json
from worldeval.improve.compose import Composed, best_weight, search_weight
from worldeval.improve.dppo import Dppo
from worldeval.improve.opening import open_doubt, open_place, open_policy
from worldeval.improve.search import Searched
from worldeval.improve.sft import Sft
from worldeval.improve.wrapped import WEIGHT, write_policy
from worldeval.policy.finetune import original_demos
from worldeval.policy.load import load_policy
from worldeval.recipe import shipped

__all__ = ["Improvement", "compose", "expo", "pa", "qgf", "rl", "sac", "search", "sft"]


def sft(
    policy: Address,
    out: Address,
    *,
    recipe: str = "improve-sft",
    world: Address | None = None,
    judge: Address | None = None,
    data: Address | None = None,
    tasks: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    say: Say = print,
) -> Improvement:
    """Fine-tune a checkpoint on its imagined successes, in several rounds.

    Args:
        policy: folder of the checkpoint; it is not changed.
        out: folder for every round's dataset (LeRobot v3), checkpoints, rounds.json and claim.json.
        recipe: name or path of an improvement recipe.
        world, judge, data: folders that replace those of the recipe.
        tasks: tasks to improve on. Default: every task that the policy and world model know.
        settings: overrides of recipe keys, such as `{"starts": 8}`.
        seed: random seed.
        say: function that is called with progress messages.

    Returns:
        The improved policy, and the claim that the gates support.

    Raises:
        UserError: an argument is invalid; nothing is written then.

    >>> import worldeval as we
    >>> better = we.improve.sft("runs/bc/step-100", "runs/better")  # doctest: +SKIP
    """
    asked = Asked("sft", recipe, world, judge, data, tasks, settings, seed, Path(out), say)
    with asked.begun({"policy": str(policy)}) as config:
        origin = open_policy(str(policy))
        opened = open_place(config, origin.sizes.tasks, seed=seed)
        demos = None
        if config.ratio > 0 and opened.recorded is not None:
            demos = original_demos(origin, opened.recorded)
        run = Sft(
            place=opened.place,
            recipe=config,
            starts=opened.starts,
            demos=demos,
            out=asked.out,
            seed=seed,
            write=_write_dataset,
            world_model=opened.world_hash,
            recorded=opened.recorded,
            left_out=opened.left_out,
            say=say,
        )
        improved, rounds = run.run(origin)
        address = str(asked.out / "policies" / improved.spec.name) if improved is not origin else ""
        steps = [each.to_json() for each in rounds]
        return asked.compared(origin, improved, opened, config, steps, address or str(policy))


def rl(
    policy: Address,
    out: Address,
    *,
    recipe: str = "improve-rl",
    world: Address | None = None,
    judge: Address | None = None,
    data: Address | None = None,
    tasks: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    say: Say = print,
) -> Improvement:
    """Improve a checkpoint by policy gradients over its denoising steps, in the world model.

    Training stops early if imagined success is not reproduced when the same actions are imagined
    again. Arguments, result and errors are those of `sft`; checkpoints, iterations.json, rl.json
    and claim.json are written to `out`.

    >>> import worldeval as we
    >>> better = we.improve.rl("runs/flow/step-100", "runs/better")  # doctest: +SKIP
    """
    asked = Asked("rl", recipe, world, judge, data, tasks, settings, seed, Path(out), say)
    with asked.begun({"policy": str(policy)}) as config:
        origin = open_policy(str(policy))
        opened = open_place(config, origin.sizes.tasks, seed=seed)
        doubt, _ = open_doubt(config, opened.place, seed=seed)
        run = Dppo(
            place=opened.place,
            recipe=config,
            starts=opened.starts,
            doubt=doubt,
            out=asked.out,
            seed=seed,
            left_out=opened.left_out,
            say=say,
        )
        done = run.run(origin)
        write_json(asked.out / "rl.json", done.to_json())
        say(f"ended: {done.stopped}; kept {done.policy.spec.name}")
        checks = [check.to_json() for check in done.checks]
        kept = asked.out / "policies" / done.policy.spec.name
        address = str(kept) if kept.is_dir() else str(policy)
        return asked.compared(origin, done.policy, opened, config, checks, address)


def search(
    policy: Address,
    out: Address,
    *,
    recipe: str = "improve-search",
    world: Address | None = None,
    judge: Address | None = None,
    data: Address | None = None,
    tasks: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    say: Say = print,
) -> Improvement:
    """Make a policy that imagines several plans at every replan and executes the best one.

    The policy may be a checkpoint or code. Arguments, result and errors are those of `sft`; the
    address of the new policy is `out/policy.py:policy`.

    >>> import worldeval as we
    >>> better = we.improve.search("mine.py:make", "runs/searching")  # doctest: +SKIP
    """
    asked = Asked("search", recipe, world, judge, data, tasks, settings, seed, Path(out), say)
    with asked.begun({"policy": str(policy)}) as config:
        bare = load_policy(shipped(str(policy)))
        opened = open_place(config, _tasks_of(bare), seed=seed)
        searching = Searched(bare, opened.place.world, opened.place.judge, config)
        address = write_policy(asked.out, "search")
        say(f"{searching.spec.name} is {address}")
        return asked.compared(bare, searching, opened, config, [], address)


def compose(
    policies: Sequence[Address],
    out: Address,
    *,
    recipe: str = "improve-compose",
    world: Address | None = None,
    judge: Address | None = None,
    data: Address | None = None,
    tasks: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    say: Say = print,
) -> Improvement:
    """Mix the scores of two diffusion or flow checkpoints, with the most successful weight.

    The mixture is compared with the better of the two. Arguments, result and errors are those of
    `sft`; the address of the new policy is `out/policy.py:policy`.

    >>> import worldeval as we
    >>> mixed = we.improve.compose(["runs/a/step-1", "runs/b/step-1"], "runs/mixed")
    ... # doctest: +SKIP
    """
    if len(policies) != 2:
        raise UserError(
            f"{len(policies)} policies were given, but a mixture is of two. Give --policy twice."
        )
    asked = Asked("compose", recipe, world, judge, data, tasks, settings, seed, Path(out), say)
    with asked.begun({"policies": [str(each) for each in policies]}) as config:
        first, second = (open_policy(str(each)) for each in policies)
        shared = tuple(task for task in first.sizes.tasks if task in second.sizes.tasks)
        opened = open_place(config, shared, seed=seed)
        starts = opened.starts.draw(config.starts, np.random.default_rng([seed, 41]))
        # Both policies alone are always tried, because the better one is the baseline.
        weights = tuple(sorted({0.0, 1.0, *config.weights}))
        tried = search_weight(opened.place, first, second, weights, starts, seed=seed)
        for one in tried:
            say(f"weight {one.weight:g}: imagined success {one.imagined}")
        weight = best_weight(tried)
        steps = [{"weight": one.weight, "imagined": one.imagined.record()} for one in tried]
        write_json(asked.out / WEIGHT, {"weight": weight, "tried": steps})
        rates = {one.weight: one.imagined.value or 0.0 for one in tried}
        better = second if rates[0.0] > rates[1.0] else first
        mixture = Composed(first, second, weight)
        address = write_policy(asked.out, "compose")
        say(f"{mixture.spec.name} is {address}")
        return asked.compared(better, mixture, opened, config, steps, address)


def _tasks_of(policy: Any) -> tuple[str, ...] | None:
    """Return the tasks of a checkpoint; empty for a policy that is code."""
    sizes = getattr(policy, "sizes", None)
    return None if sizes is None else sizes.tasks


def _write_dataset(pairs: Any, folder: Path, facts: Any) -> object:
    return export_episodes(
        pairs,
        folder,
        signals=("weight",),
        facts={"made_by": f"worldeval {__version__}", **facts},
        summary="Robot episodes imagined by a learned world model, chosen to improve a policy.",
    )
