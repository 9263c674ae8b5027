"""Improve policies using imagination alone: `worldeval.improve.sft`, `rl`, `search`, `compose`.

Each function works inside the world model, compares the result with the initial policy on held-out
starts, and claims only what the gates support. The simulator is never used, and the given policies
are not changed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldeval import __version__
from worldeval import recipe as recipes
from worldeval.api.load import Address
from worldeval.api.run_folder import run_folder
from worldeval.errors import UserError
from worldeval.evaluate.analysis import MENDED
from worldeval.evaluate.gates import ACTION_EFFECT, run_gates
from worldeval.evaluate.kept_gates import REPLAYING
from worldeval.export.dataset import export_episodes
from worldeval.files import write_json
from worldeval.improve.compose import Composed, best_weight, search_weight
from worldeval.improve.doubt import Doubt, check_second
from worldeval.improve.dppo import Dppo
from worldeval.improve.guard import NO_GATE, Claim, claim
from worldeval.improve.opening import Opened, open_place, open_policy
from worldeval.improve.search import Searched
from worldeval.improve.sft import Sft
from worldeval.improve.wrapped import WEIGHT, write_policy
from worldeval.policy.finetune import original_demos
from worldeval.policy.load import load_policy
from worldeval.policy.protocol import Policy
from worldeval.recipe import shipped
from worldeval.rollout.starts import read_recordings
from worldeval.stats import Finding, untrustworthy
from worldeval.stats.findings import judge_uninformative
from worldeval.world.load import load_world

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Improvement:
    """The result of an improvement, and the claim that it supports."""

    origin: str  # name of the policy that it is compared with
    improved: str  # name of the improved policy
    policy: Policy  # that policy, ready to use
    folder: Path
    address: str  # address of the improved policy
    claim: Claim
    steps: tuple[Mapping[str, Any], ...]  # rounds, checks or weights that were tried

    def to_json(self) -> dict[str, Any]:
        """The content of claim.json."""
        return {
            "origin": self.origin,
            "improved": self.improved,
            "claim": self.claim.to_json(),
            "steps": [dict(step) for step in self.steps],
        }


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
    asked = _Asked("sft", recipe, world, judge, data, tasks, settings, seed, Path(out), say)
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
    asked = _Asked("rl", recipe, world, judge, data, tasks, settings, seed, Path(out), say)
    with asked.begun({"policy": str(policy)}) as config:
        origin = open_policy(str(policy))
        opened = open_place(config, origin.sizes.tasks, seed=seed)
        second = None
        if config.second:
            check_second(Path(shipped(config.world)), Path(shipped(config.second)))
            second = load_world(Path(shipped(config.second)))
        doubt = Doubt(place=opened.place, second=second, seed=seed)
        run = Dppo(
            place=opened.place,
            recipe=config,
            starts=opened.starts,
            doubt=doubt,
            out=asked.out,
            seed=seed,
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
    asked = _Asked("search", recipe, world, judge, data, tasks, settings, seed, Path(out), say)
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
    asked = _Asked("compose", recipe, world, judge, data, tasks, settings, seed, Path(out), say)
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


@dataclass(frozen=True)
class _Asked:
    """The arguments that all improvement methods share, besides the policies."""

    verb: str
    recipe: str
    world: Address | None
    judge: Address | None
    data: Address | None
    tasks: Sequence[str] | None
    settings: Mapping[str, Any] | None
    seed: int
    out: Path
    say: Say

    @contextmanager
    def begun(self, policies: Mapping[str, Any]) -> Iterator[Any]:
        """Open the run folder with the recipe and its overrides."""
        values = dict(self.settings or {})
        for name in ("world", "judge", "data"):
            if (given := getattr(self, name)) is not None:
                values[name] = str(given)
        if self.tasks:
            values["tasks"] = list(self.tasks)
        found = recipes.load(self.recipe, "improvement", values)
        if found.kind != f"improve-{self.verb}":
            verb = found.kind.replace("-", " ")
            raise UserError(f"{found.path} is a recipe for `worldeval {verb}`.")
        recipe = {**found.resolved(), **policies}
        command = f"improve {self.verb}"
        worthless = frozenset({"policy.py"})
        with run_folder(
            self.out, recipe=recipe, seed=self.seed, command=command, resume=False,
            worthless=worthless,
        ):  # fmt: skip
            yield found.config

    def compared(
        self,
        origin: Policy,
        improved: Policy,
        opened: Opened,
        config: Any,
        steps: Sequence[Mapping[str, Any]],
        address: str,
    ) -> Improvement:
        """Compare on held-out starts, paired, and claim only what the gates support."""
        self.say("comparing on held-out starts")
        place, starts = opened.place, opened.starts.held_out
        # The seeds of the comparison are its own: nothing was watched with them.
        before = place.compared(origin, starts, seed=self.seed + 1)
        after = place.compared(improved, starts, seed=self.seed + 1)
        found = gate_findings(config, place, after, opened.tasks, seed=self.seed, say=self.say)
        done = Improvement(
            origin=origin.spec.name,
            improved=improved.spec.name,
            policy=improved,
            folder=self.out,
            address=address,
            claim=claim(before, after, found),
            steps=tuple(steps),
        )
        write_json(self.out / "claim.json", done.to_json())
        return done


def gate_findings(
    config: Any, place: Any, attempts: Any, tasks: tuple[str, ...], *, seed: int, say: Say
) -> list[Finding]:
    """Collect the findings against this world model from replays and trust signals."""
    mended = [one.rollout.trust.get("mended_actions", 0.0) > MENDED for one in attempts]
    untrusted = float(np.mean(mended))
    recordings = []
    if config.replays:
        every = read_recordings(Path(shipped(config.replays)))
        recordings = [one for one in every if one.start.task in tasks]
    if not recordings:
        never = Finding(
            code=NO_GATE,
            severity="warning",
            text="No recorded episode of these tasks was replayed, so it is unknown whether this "
            "world model turns failures into successes. Name recorded episodes in `replays`.",
        )
        return [*untrustworthy(untrusted=untrusted), never]
    gates = run_gates(
        place.world,
        place.judge,
        recordings,
        rng=np.random.default_rng(seed),
        progress=lambda done, total: say(f"{REPLAYING} {done}/{total}"),
    )
    found = untrustworthy(false_success=gates.false_success, untrusted=untrusted)
    found += judge_uninformative(gates.informativeness, None)
    effect = gates.action_effect
    if effect.low is None or effect.low < ACTION_EFFECT:
        found.append(
            Finding(
                code="actions_ignored",
                severity="refusal",
                text=f"Zeroed or shuffled actions lower the predicted success by only {effect}; at "
                f"least {ACTION_EFFECT} is needed.",
            )
        )
    return found


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
