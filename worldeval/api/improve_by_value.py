"""Ways of improvement that learn a critic in imagination: `pa`, `qgf`, `expo` and `sac`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from worldeval.api.improvement import Asked, Improvement, Say
from worldeval.api.load import Address
from worldeval.files import write_json
from worldeval.improve.expo import Expo
from worldeval.improve.offpolicy import Method, OffPolicy
from worldeval.improve.opening import Opened, open_doubt, open_place, open_policy
from worldeval.improve.pa import PolicyAgnostic
from worldeval.improve.qgf import QGuided
from worldeval.improve.sac import Sac
from worldeval.improve.watch import Watch
from worldeval.improve.wrapped import KEPT, write_policy
from worldeval.policy.checkpoint import LearnedPolicy
from worldeval.policy.finetune import original_demos

Making = Callable[[LearnedPolicy, Opened, Any, int], Method]


def pa(
    policy: Address,
    out: Address,
    *,
    recipe: str = "improve-pa",
    world: Address | None = None,
    judge: Address | None = None,
    data: Address | None = None,
    tasks: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    say: Say = print,
) -> Improvement:
    """Improve a checkpoint of any head by imitating actions that a critic improved (PA-RL).

    Arguments, result and errors are those of `sft`; checkpoints, iterations.json, pa.json and
    claim.json are written to `out`.

    >>> import worldeval as we
    >>> better = we.improve.pa("runs/bc/step-100", "runs/better")  # doctest: +SKIP
    """
    asked = Asked("pa", recipe, world, judge, data, tasks, settings, seed, Path(out), say)

    def make(origin: LearnedPolicy, opened: Opened, config: Any, seed: int) -> Method:
        demos = None
        if config.ratio > 0 and opened.recorded is not None:
            demos = original_demos(origin, opened.recorded)
        replan_every = opened.place.replan_every
        return PolicyAgnostic(origin, config, replan_every=replan_every, demos=demos, seed=seed)

    return _improved(asked, str(policy), make)


def qgf(
    policy: Address,
    out: Address,
    *,
    recipe: str = "improve-qgf",
    world: Address | None = None,
    judge: Address | None = None,
    data: Address | None = None,
    tasks: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    say: Say = print,
) -> Improvement:
    """Guide a checkpoint by a critic's gradients while it acts; the policy is not trained (QGF).

    Arguments, result and errors are those of `sft`; the address of the new policy is
    `out/policy.py:policy`.

    >>> import worldeval as we
    >>> better = we.improve.qgf("runs/flow/step-100", "runs/guided")  # doctest: +SKIP
    """
    asked = Asked("qgf", recipe, world, judge, data, tasks, settings, seed, Path(out), say)

    def make(origin: LearnedPolicy, opened: Opened, config: Any, seed: int) -> Method:
        return QGuided(origin, config, place=opened.place, starts=opened.starts, seed=seed)

    return _improved(asked, str(policy), make)


def expo(
    policy: Address,
    out: Address,
    *,
    recipe: str = "improve-expo",
    world: Address | None = None,
    judge: Address | None = None,
    data: Address | None = None,
    tasks: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    say: Say = print,
) -> Improvement:
    """Edit a checkpoint's chunks by a small policy, and execute the best by value (EXPO).

    Arguments, result and errors are those of `sft`; the address of the new policy is
    `out/policy.py:policy`.

    >>> import worldeval as we
    >>> better = we.improve.expo("runs/flow/step-100", "runs/edited")  # doctest: +SKIP
    """
    asked = Asked("expo", recipe, world, judge, data, tasks, settings, seed, Path(out), say)

    def make(origin: LearnedPolicy, opened: Opened, config: Any, seed: int) -> Method:
        return Expo(origin, config, place=opened.place, seed=seed)

    return _improved(asked, str(policy), make)


def sac(
    policy: Address,
    out: Address,
    *,
    recipe: str = "improve-sac",
    world: Address | None = None,
    judge: Address | None = None,
    data: Address | None = None,
    tasks: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    say: Say = print,
) -> Improvement:
    """Train a Gaussian policy that begins at a checkpoint's chunks, by soft actor-critic (SAC).

    Arguments, result and errors are those of `sft`; the address of the new policy is
    `out/policy.py:policy`.

    >>> import worldeval as we
    >>> better = we.improve.sac("runs/flow/step-100", "runs/soft")  # doctest: +SKIP
    """
    asked = Asked("sac", recipe, world, judge, data, tasks, settings, seed, Path(out), say)

    def make(origin: LearnedPolicy, opened: Opened, config: Any, seed: int) -> Method:
        return Sac(origin, config, place=opened.place, seed=seed)

    return _improved(asked, str(policy), make)


def _improved(asked: Asked, policy: str, make: Making) -> Improvement:
    """Run the loop that these methods share, and compare what it keeps with the initial policy."""
    with asked.begun({"policy": policy}) as config:
        origin = open_policy(policy)
        opened = open_place(config, origin.sizes.tasks, seed=asked.seed)
        doubt, second = open_doubt(config, opened.place, seed=asked.seed)
        watch = Watch(
            place=opened.place,
            starts=opened.starts.check,
            doubt=doubt,
            left_out=opened.left_out,
            disagreement=config.disagreement,
            seed=asked.seed,
            say=asked.say,
        )
        run = OffPolicy(
            place=opened.place,
            recipe=config,
            starts=opened.starts,
            watch=watch,
            out=asked.out,
            seed=asked.seed,
            # Only starts that are drawn from recordings have actions to replay.
            recorded=None if config.starts_file else opened.recorded,
            second=second,
            say=asked.say,
        )
        done = run.run(origin, make(origin, opened, config, asked.seed))
        write_json(asked.out / f"{asked.verb}.json", done.to_json())
        asked.say(f"ended: {done.stopped}; kept {done.policy.spec.name}")
        address = policy if done.checkpoint is None else str(done.checkpoint)
        if done.checkpoint is not None and asked.verb != "pa":
            write_json(asked.out / KEPT, {"step": done.policy.spec.step})
            address = write_policy(asked.out, asked.verb)
        checks = [check.to_json() for check in done.checks]
        return asked.compared(origin, done.policy, opened, config, checks, address)
