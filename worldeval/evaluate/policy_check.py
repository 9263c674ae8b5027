"""Check a policy's interface: which change of its inputs or outputs makes it agree with the
demonstrators, on recorded observations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

import numpy as np

from worldeval.data.source import Source
from worldeval.evaluate.policy_answers import ColumnError, PolicyAnswers
from worldeval.policy.misread.misreading import NOTHING, Misreading, Untried, both
from worldeval.policy.misread.numbers import number_range
from worldeval.policy.misread.plausible import plausible
from worldeval.policy.misread.recorded import COMPARED, recorded_numbers, segments
from worldeval.policy.protocol import Policy
from worldeval.policy.views import same_view
from worldeval.rollout.actions import fitted
from worldeval.rollout.apart import told
from worldeval.stats.misreading import ChangeEffect, ErrorsOfChange, alike, effects
from worldeval.world.protocol import ANY_TASK, WorldSpec

SECONDS = 120.0
BASES = 2  # first changes on which a second one is tried, if none suffices


@dataclass(frozen=True, kw_only=True)
class PolicyCheck:
    """What recorded observations say of a policy's interface."""

    policy: str
    error: float  # as it is, in spreads of the demonstrators' actions; 1: the best constant
    shuffled: float  # the same, with answers to moments of other episodes
    changes: tuple[str, ...]  # codes of the changes that make it agree, at most two; none if empty
    text: str  # what they are
    effects: tuple[ChangeEffect, ...]  # of these changes, one after the other
    columns: tuple[ColumnError, ...]  # of all changes together
    alike: tuple[str, ...]  # other changes that do as well
    tried: tuple[ChangeEffect, ...] = field(repr=False)
    untried: tuple[Untried, ...] = field(repr=False)
    episodes: int
    observations: int
    seconds: float

    @property
    def misread(self) -> bool:
        """Whether a change makes the policy agree with the demonstrators."""
        return bool(self.changes)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            **{name: getattr(self, name) for name in ("policy", "error", "shuffled", "text")},
            "changes": list(self.changes),
            "effects": [each.to_json() for each in self.effects],
            "columns": [vars(each) for each in self.columns],
            "alike": list(self.alike),
            "tried": [each.to_json() for each in self.tried],
            "untried": [vars(each) for each in self.untried],
            **{name: getattr(self, name) for name in ("episodes", "observations", "seconds")},
        }


def check_policy(
    policy: Policy,
    source: Source,
    *,
    seconds: float = SECONDS,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> PolicyCheck:
    """Compare a policy's actions with the demonstrators' under every plausible misreading.

    Args:
        source: recorded episodes, in the form in which the policy is shown observations.
        seconds: time for calls of the policy; changes that do not fit are listed as untried.
        progress: called with (changes tried, all changes).

    Raises:
        UserError: the data are too few, or the policy cannot act on them.
    """
    begun, rng = monotonic(), np.random.default_rng(seed)
    policy = _fitted(policy, source)
    drawn = segments(source, policy.spec, rng=rng)
    asked = PolicyAnswers(policy, drawn, source, rng=rng, deadline=begun + seconds)
    views = {name: source.spec.views[name] for name in _views(policy, source)}
    shifts, too_long = asked.shifts(sorted({1, policy.spec.replans(COMPARED)}))
    actions, poses = recorded_numbers(source, rng)
    found, untried = plausible(
        asked.meaning,
        views=views,
        action=number_range(actions.reshape(-1, asked.steps.shape[1])),
        pose=number_range(poses) if poses.shape[1] else None,
        fps=source.spec.fps,
        chunk=asked.chunk,
        shifts=shifts,
    )
    untried += too_long
    asked.prepare(found)
    search = _Search(asked, found, progress)
    chosen, done, same = search.run()
    change = NOTHING if not chosen else chosen[0] if len(chosen) == 1 else both(*chosen)
    return PolicyCheck(
        policy=policy.spec.name,
        error=float(asked.mean(asked.errors(NOTHING), None).mean()),
        shuffled=asked.shuffled(NOTHING, None),
        changes=tuple(each.code for each in chosen),
        text=", and ".join(each.text for each in chosen),
        effects=tuple(done),
        columns=asked.columns(change) if chosen else (),
        alike=tuple(same),
        tried=tuple(search.tried),
        untried=(*untried, *asked.refused.values()),
        episodes=len(asked.episodes),
        observations=int(drawn.at[:, drawn.settled :].size),
        seconds=monotonic() - begun,
    )


@dataclass(frozen=True, kw_only=True)
class _Tried:
    """A change on top of another: its effect on what it touches, and on single groups of these."""

    change: Misreading
    errors: ErrorsOfChange
    effect: ChangeEffect
    parts: tuple[ChangeEffect, ...]

    @property
    def promise(self) -> float:
        """The largest share of the error that a part gains for certain; 0 if none does."""
        return max((each.share for each in (self.effect, *self.parts) if each.helps), default=0.0)


class _Search:
    """Greedy search for at most two changes."""

    def __init__(
        self,
        asked: PolicyAnswers,
        found: Sequence[Misreading],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._asked, self._found, self._progress = asked, found, progress
        self.tried: list[ChangeEffect] = []

    def run(self) -> tuple[list[Misreading], list[ChangeEffect], list[str]]:
        """Return the changes, the effect of each, and what does as well as the last."""
        judged = self._round(NOTHING)
        self.tried = [each.effect for each in judged]
        enough = [each for each in judged if each.effect.helps and each.effect.informed]
        best: tuple[list[Misreading], list[ChangeEffect], list[str]] = ([], [], [])
        total = np.inf
        if enough:
            best, total = self._taken([], [], enough), enough[0].effect.total
        promising = sorted((each for each in judged if each.promise), key=lambda t: -t.promise)
        bases = enough[:1] or promising[:BASES]
        for base in bases:
            more = [
                each
                for each in self._round(base.change)
                if each.effect.helps and each.effect.informed and each.effect.total < total
            ]
            for second in more:
                first = self._needed(base.change, second.change)
                if first is not None:
                    total = second.effect.total
                    best = self._taken([base.change], [first], [second, *more])
                    break
        return best

    def _round(self, base: Misreading) -> list[_Tried]:
        """Try every change on top of `base`; those that leave the smallest error come first."""
        errors: list[tuple[Misreading, list[ErrorsOfChange]]] = []
        for count, change in enumerate(self._found):
            if self._progress is not None and base is NOTHING:
                self._progress(count + 1, len(self._found))
            if change.family == base.family or change.code in self._asked.refused:
                continue
            touched = [i for i in self._asked.moving if i in (change.touches or (i,))]
            if not touched:
                self._refuse(change, "the columns that it changes never move in the recordings")
                continue
            whole = change if base is NOTHING else both(base, change)
            parts = [change.touches, *([i] for i in touched if len(touched) > 1)]
            try:
                compared = [self._asked.compared(change, base, whole, t) for t in parts]
            except Exception as error:  # the policy's own: it may not take such observations
                if base is NOTHING:
                    self._refuse(change, told(error))
                continue
            errors.append((change, compared))
        judged = iter(effects([each for _, compared in errors for each in compared]))
        out = []
        for change, compared in errors:
            effect, *parts = (next(judged) for _ in compared)
            if effect.helps:
                whole = change if base is NOTHING else both(base, change)
                effect = replace(effect, shuffled=self._uninformed(effect, change, whole))
            out.append(_Tried(change=change, errors=compared[0], effect=effect, parts=tuple(parts)))
        return sorted(out, key=lambda each: each.effect.total)

    def _needed(self, first: Misreading, second: Misreading) -> ChangeEffect | None:
        """Return the effect of the first change on top of the second, if that needs it."""
        whole = both(first, second)
        try:
            compared = self._asked.compared(first, second, whole, first.touches)
        except Exception:  # as in `_round`
            return None
        (effect,) = effects([compared])
        effect = replace(effect, shuffled=self._uninformed(effect, first, whole))
        return effect if effect.helps and effect.informed else None

    def _uninformed(self, effect: ChangeEffect, change: Misreading, whole: Misreading) -> float:
        """Return the error of answers that say nothing of their moments."""
        shuffled = self._asked.shuffled(whole, change.touches)
        standing = self._asked.standing(whole) if whole.shift else None
        return shuffled if standing is None else min(shuffled, standing * effect.after)

    def _taken(
        self, before: list[Misreading], known: list[ChangeEffect], tried: Sequence[_Tried]
    ) -> tuple[list[Misreading], list[ChangeEffect], list[str]]:
        best, *others = tried
        same = alike(best.errors, [each.errors for each in others])
        return [*before, best.change], [*known, best.effect], same

    def _refuse(self, change: Misreading, reason: str) -> None:
        self._asked.refused[change.code] = Untried(code=change.code, reason=reason)


def _fitted(policy: Policy, source: Source) -> Policy:
    """Return the policy in the action space of the data."""
    spec = source.spec
    size = next(iter(spec.views.values()), (1, 1))
    return fitted(
        policy,
        WorldSpec(
            views=tuple(spec.views),
            size=size,
            latent=(1, 1, 1),
            action_dim=len(spec.action_names),
            pose_dim=len(spec.pose_names),
            tasks=(ANY_TASK,),
            fps=spec.fps,
            space=spec.space,
            pose_space=spec.pose_space,
        ),
    )


def _views(policy: Policy, source: Source) -> tuple[str, ...]:
    """Return the data's views that the policy reads; all if it does not say."""
    known = tuple(source.spec.views)
    found = [same_view(name, known) for name in policy.spec.views]
    return tuple(dict.fromkeys(name for name in found if name)) or known
