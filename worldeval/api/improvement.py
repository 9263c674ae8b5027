"""What every way of improvement shares: its arguments, its run folder, and the claim at its end."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldeval import recipe as recipes
from worldeval.api.load import Address
from worldeval.api.run_folder import run_folder
from worldeval.errors import UserError
from worldeval.evaluate.analysis import MENDED
from worldeval.evaluate.gates import ACTION_EFFECT, run_gates
from worldeval.evaluate.kept_gates import REPLAYING
from worldeval.files import write_json
from worldeval.improve.guard import NO_GATE, Claim, claim, left_out_claim
from worldeval.improve.opening import Opened
from worldeval.policy.protocol import Policy
from worldeval.recipe import shipped
from worldeval.rollout.starts import read_recordings
from worldeval.stats import Finding, untrustworthy
from worldeval.stats.findings import judge_uninformative

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


@dataclass(frozen=True)
class Asked:
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
        left_out = None
        if opened.left_out is not None:
            left_out = left_out_claim(opened.left_out, before, after, batch=place.batch)
        done = Improvement(
            origin=origin.spec.name,
            improved=improved.spec.name,
            policy=improved,
            folder=self.out,
            address=address,
            claim=claim(before, after, found, left_out=left_out),
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
