"""The film strips that a report shows: wrong predictions first, then examples of every policy."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worldeval.report.compared import SOMEHOW
from worldeval.runs.films import Filmstrip


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """Film strips that show the same thing."""

    name: str
    title: str
    strips: tuple[Filmstrip, ...]  # shown in the report
    filmed: int  # number available

    @property
    def disagreement(self) -> bool:
        """Whether imagination was wrong here."""
        return self.name in ("optimism", "pessimism")


# In the order of a report: wrong predictions come before correct ones.
CHAPTERS: tuple[tuple[str, str, Callable[[Filmstrip], bool]], ...] = (
    (
        "optimism",
        "Success in imagination, failure {where}",
        lambda strip: strip.agrees is False and strip.success is False,
    ),
    (
        "pessimism",
        "Failure in imagination, success {where}",
        lambda strip: strip.agrees is False and strip.success is True,
    ),
    (
        "successes",
        "Success, both in imagination and {where}",
        lambda strip: strip.agrees is True and strip.success is True,
    ),
    (
        "failures",
        "Failure, both in imagination and {where}",
        lambda strip: strip.agrees is True and strip.success is False,
    ),
    ("unknown", "Imagined only", lambda strip: strip.agrees is None),
)


def chapters(
    strips: Sequence[Filmstrip], *, each: int = 4, where: str = SOMEHOW.where
) -> tuple[Chapter, ...]:
    """Group film strips by what they show, at most `each` per group; empty groups are omitted.

    The most confident verdicts come first: a confident wrong verdict is the one to look at. `where`
    says where outcomes were measured, as in `Compared`.
    """
    found = []
    for name, title, fits in CHAPTERS:
        fitting = sorted(filter(fits, strips), key=_sureness, reverse=True)
        if fitting:
            shown = tuple(_varied(fitting, each))
            told = title.format(where=where)
            found.append(Chapter(name=name, title=told, strips=shown, filmed=len(fitting)))
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Both:
    """An episode of a policy that is judged a success and one that is judged a failure."""

    policy: str
    success: Filmstrip | None  # None if there is no film strip
    failure: Filmstrip | None

    @property
    def strips(self) -> tuple[Filmstrip, ...]:
        """The film strips that exist, the success first."""
        return tuple(strip for strip in (self.success, self.failure) if strip is not None)


def by_policy(strips: Sequence[Filmstrip], order: Sequence[str]) -> tuple[Both, ...]:
    """Choose a judged success and failure of every policy, in `order`.

    Policies without film strips are omitted. Correct verdicts are preferred to wrong ones, then
    confident ones to uncertain ones. A strip without a probability is classified by its measured
    outcome.
    """
    names = dict.fromkeys([*order, *(strip.policy for strip in strips)])
    found = []
    for policy in names:
        own = [strip for strip in strips if strip.policy == policy]
        both = Both(policy=policy, success=_clearest(own, True), failure=_clearest(own, False))
        found += [both] if both.strips else []
    return tuple(found)


def _clearest(strips: Sequence[Filmstrip], success: bool) -> Filmstrip | None:
    fitting = [strip for strip in strips if _judged(strip) is success]
    return max(fitting, key=lambda s: (s.agrees is not False, _sureness(s)), default=None)


def _judged(strip: Filmstrip) -> bool | None:
    return strip.success if strip.probability is None else strip.probability >= 0.5


def _sureness(strip: Filmstrip) -> float:
    return abs((0.5 if strip.probability is None else strip.probability) - 0.5)


def _varied(strips: Sequence[Filmstrip], count: int) -> list[Filmstrip]:
    """Take strips in order, but prefer policies and tasks that are not shown yet."""
    waiting, chosen = list(strips), []
    policies: Counter[str] = Counter()
    tasks: Counter[str] = Counter()
    while waiting and len(chosen) < count:
        best = min(waiting, key=lambda strip: policies[strip.policy] + tasks[strip.task])
        waiting.remove(best)
        chosen.append(best)
        policies[best.policy] += 1
        tasks[best.task] += 1
    return chosen
