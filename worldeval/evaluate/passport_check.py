"""Compare a ranking with the passport of its world model and judge.

Inside what was validated, the passport gives the validated rates (for intervals of true rates) and
stands for the comparison with truth. Outside, neither is borrowed: intervals are withheld, and the
ranking is a hypothesis. Single starts outside are named; a task, or the ranking, counts as outside
when more than 20% of its starts, and at least two, are.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from worldeval.data.action_bounds import LEAST, MARGIN
from worldeval.evaluate.known import over_tasks, read_old_rates
from worldeval.evaluate.start_scope import StartTest, tested_starts
from worldeval.evaluate.validated import Validated
from worldeval.record import Start
from worldeval.rollout.recipe import ProtocolRecipe
from worldeval.runs.passport import Passport, find_passport
from worldeval.runs.store import RolloutStore
from worldeval.stats import Finding, ValidatedRates
from worldeval.world.world import World

SHARE = 0.2  # of a task's starts, or of the roll-outs, beyond which they are outside
LEAST_STARTS = 2  # that must be outside before a task is
FAR_ACTIONS = 0.01  # share of a roll-out's action numbers beyond the validated range
SHOWN = 5  # starts or policies named in a finding; the summary has them all
UNVALIDATED = (
    "Intervals of true rates are withheld and the ranking is a hypothesis there; compare it with "
    "measured outcomes (--truth or --real), and renew the passport with worldeval passport make."
)


@dataclass(frozen=True, kw_only=True)
class PassportCheck:
    """What a passport supports in this ranking. Without a passport everything is empty."""

    passport: Passport | None = None
    rates: ValidatedRates | None = None  # that apply, if nothing is outside
    outside: tuple[Finding, ...] = ()  # what is outside; intervals are withheld
    notes: tuple[Finding, ...] = ()  # what should be known, but withholds nothing
    starts: tuple[StartTest, ...] = ()

    @property
    def known(self) -> ValidatedRates | None:
        """Validated rates for intervals of true rates; None outside what was validated."""
        return None if self.outside else self.rates

    @property
    def validated(self) -> Validated | None:
        """The comparison with truth that the passport stands for; None outside of it."""
        if self.outside or self.passport is None or self.passport.validation is None:
            return None
        said, rho = self.passport.validation, self.passport.validation.agreement.get("spearman")
        return Validated(
            where=f"The passport (run {said.run}, {said.date[:10]})",
            policies=said.policies,
            lineages=frozenset(self.passport.scope.lineages),
            tasks=frozenset(self.passport.scope.tasks),
            spearman="undefined" if rho is None or rho.value is None else str(rho),
            failed=tuple(
                Finding(code=one.code, severity=one.severity, text=f"As validated: {one.text}")
                for one in said.refusals
            ),
        )

    def findings(self, *, measured: bool) -> tuple[Finding, ...]:
        """Return all findings; outside is a warning only where this run itself has truth."""
        severity = "warning" if measured else "refusal"
        return (*(replace(one, severity=severity) for one in self.outside), *self.notes)

    def with_actions(self, episodes: Path) -> "PassportCheck":
        """Compare the actions of imagined episodes with the validated range as well.

        Args:
            episodes: folder of the run's imagined episodes.
        """
        scope = self.passport.scope.actions if self.passport is not None else None
        if scope is None or not scope.low:
            return self
        found = _far_actions(episodes, np.array(scope.low), np.array(scope.high))
        outside, notes = _action_findings(found)
        return replace(self, outside=(*self.outside, *outside), notes=(*self.notes, *notes))

    def to_json(self) -> dict[str, Any]:
        """Return the `passport` of a run's summary; empty without a passport."""
        if self.passport is None:
            return {}
        return {
            "sha256": self.passport.sha256,
            "made": self.passport.made,
            "applies": not self.outside,
            "starts": [asdict(one) for one in self.starts],
        }


def check_passport(
    judge: Path | None,
    *,
    hashes: Mapping[str, str],
    recipe: ProtocolRecipe,
    starts: Sequence[Start],
    world: Callable[[], World],
) -> PassportCheck:
    """Compare what will be ranked with the passport in the judge's folder.

    Args:
        judge: the judge's folder; None for a judge in memory.
        hashes: fingerprints of the world model and the judge.
        recipe: the protocol.
        starts: the starts to rank from.
        world: loads the world model, to encode start frames.

    Raises:
        UserError: the passport or its start frames are damaged.
    """
    if judge is None:
        return PassportCheck()
    passport = find_passport(judge)
    if passport is None:
        return _without_passport(judge)
    if others := _other_models(passport, hashes):
        return PassportCheck(passport=passport, outside=(_outside("models", others),))
    tasks = {start.task for start in starts}
    found, notes = _settings(passport, recipe), list[Finding]()
    rates = passport.rates
    if new := sorted(tasks - set(passport.scope.tasks)):
        found.append(_outside("tasks", f"the passport does not speak of {', '.join(new)}"))
    elif rates is not None and tasks != set(passport.scope.tasks):
        rates = over_tasks(passport.cells, frozenset(tasks)) if passport.cells else None
        notes += [] if rates else [_only_together(passport)]
    tested = tuple(tested_starts(passport, judge, starts, world))
    outside, strange = start_findings(tested)
    return PassportCheck(
        passport=passport,
        rates=rates,
        outside=(*found, *outside),
        notes=(*notes, *strange, *_untested(passport)),
        starts=tested,
    )


def _without_passport(judge: Path) -> PassportCheck:
    rates = read_old_rates(judge)
    if rates is None:
        return PassportCheck()
    text = (
        f"The worth of an imagined rate comes from {judge / 'validated.json'}, which does not say "
        "for which tasks, cameras or starts it holds. Make a passport: worldeval passport make RUN."
    )
    return PassportCheck(
        rates=rates, notes=(Finding(code="no_passport", severity="warning", text=text),)
    )


def _other_models(passport: Passport, hashes: Mapping[str, str]) -> str:
    for what, said in (("world model", passport.world.hash), ("judge", passport.judge.hash)):
        now = hashes["world" if what == "world model" else "judge"]
        if said and said != now:
            return f"it was made for another {what} ({said}; now {now or 'unknown'})"
    return ""


def _settings(passport: Passport, recipe: ProtocolRecipe) -> list[Finding]:
    scope, changed = passport.scope, []
    if passport.validation is None:
        return []
    if scope.sampler_steps != recipe.sampler_steps:
        changed.append(
            f"sampler steps {_or_trained(scope.sampler_steps)}, now "
            f"{_or_trained(recipe.sampler_steps)}"
        )
    if scope.horizon is not None and scope.horizon != recipe.horizon:
        changed.append(f"a horizon of {scope.horizon} frames, now {recipe.horizon}")
    if scope.replan_every is not None and scope.replan_every != recipe.replan_every:
        changed.append(f"{scope.replan_every} frames per query, now {recipe.replan_every}")
    return [_outside("settings", f"it was validated with {' and '.join(changed)}")] * bool(changed)


def _or_trained(steps: int | None) -> str:
    return "as trained" if steps is None else str(steps)


def _outside(what: str, why: str) -> Finding:
    return Finding(
        code=f"{what}_outside_passport",
        severity="refusal",
        text=f"The passport does not cover this ranking: {why}. {UNVALIDATED}",
    )


def _only_together(passport: Passport) -> Finding:
    return Finding(
        code="tasks_validated_together",
        severity="warning",
        text=f"The passport has the policies' rates only as means over {len(passport.scope.tasks)} "
        "tasks, and a mean over fewer tasks errs more. Intervals of true rates are withheld.",
    )


def _untested(passport: Passport) -> list[Finding]:
    scope = passport.scope.starts
    if scope is not None and scope.rate is not None:
        return []
    return [
        Finding(
            code="starts_untested",
            severity="warning",
            text="The passport holds no start frames, so a moved camera or another light would not "
            "be noticed. Make it with more held-out starts (worldeval passport make RUN --starts "
            "FILE): 99 fix a false-alarm rate of 1%, 19 one of 5%.",
        )
    ]


def start_findings(tested: Collection[StartTest]) -> tuple[list[Finding], list[Finding]]:
    """Return what the start frames put outside of the passport, and what is worth a warning."""
    strange = [one for one in tested if one.outside]
    if not strange:
        return [], []
    outside = []
    for task in dict.fromkeys(one.task for one in tested):
        own = [one for one in tested if one.task == task]
        far = sum(one.outside for one in own)
        if far >= LEAST_STARTS and far > SHARE * len(own):
            outside.append(f"{far} of {len(own)} on {task}")
    # One start of each task: no task has two, but all of them may be outside.
    if not outside and len(strange) >= LEAST_STARTS and len(strange) > SHARE * len(tested):
        outside.append(f"{len(strange)} of {len(tested)} over all tasks")
    named = _listed([one.said() for one in strange])
    if outside:
        why = (
            "start frames differ from those of the passport, as a moved camera, another light or "
            f"another background would make them: {', '.join(outside)}; {named}"
        )
        return [_outside("starts", why)], []
    return [], [
        Finding(
            code="unusual_starts",
            severity="warning",
            text=f"{len(strange)} of {len(tested)} start frames differ from those of the passport: "
            f"{named}. Look at them before trusting what was imagined from there.",
        )
    ]


def _far_actions(episodes: Path, low: Any, high: Any) -> dict[str, list[bool]]:
    """Policy -> for each roll-out whether more than 1% of its actions are beyond the range."""
    margin = np.maximum(MARGIN * (high - low), LEAST)
    out: dict[str, list[bool]] = {}
    for facts, actions in RolloutStore(episodes).actions():
        beyond = (actions < low - margin) | (actions > high + margin)
        out.setdefault(facts.policy, []).append(bool(beyond.mean() > FAR_ACTIONS))
    return out


def _action_findings(found: Mapping[str, list[bool]]) -> tuple[list[Finding], list[Finding]]:
    shares = {policy: sum(far) / len(far) for policy, far in found.items() if any(far)}
    if not shares:
        return [], []
    total = sum(map(sum, found.values())) / sum(map(len, found.values()))
    why = "actions leave the range that was validated in " + _listed(
        [f"{share:.0%} of the roll-outs of {policy}" for policy, share in shares.items()]
    )
    if total > SHARE:
        return [_outside("actions", why)], []
    text = f"{why[0].upper()}{why[1:]}; nothing was validated there."
    return [], [Finding(code="unusual_actions", severity="warning", text=text)]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
