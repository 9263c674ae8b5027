"""Which film strips a report shows: some of each kind, disagreements never left out."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worldeval.report.filmstrip import Filmstrip


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """Film strips that show the same thing."""

    name: str
    title: str
    strips: tuple[Filmstrip, ...]  # those shown
    filmed: int  # those there are

    @property
    def disagreement(self) -> bool:
        """Whether imagination was wrong here."""
        return self.name in ("optimism", "pessimism")


# In the order of a report: what a reader must know comes before what pleases.
CHAPTERS: tuple[tuple[str, str, Callable[[Filmstrip], bool]], ...] = (
    (
        "optimism",
        "Imagined as success, really a failure",
        lambda strip: strip.agrees is False and strip.success is False,
    ),
    (
        "pessimism",
        "Imagined as failure, really a success",
        lambda strip: strip.agrees is False and strip.success is True,
    ),
    (
        "successes",
        "Success, imagined and real",
        lambda strip: strip.agrees is True and strip.success is True,
    ),
    (
        "failures",
        "Failure, imagined and real",
        lambda strip: strip.agrees is True and strip.success is False,
    ),
    ("unknown", "Imagined only", lambda strip: strip.agrees is None),
)


def chapters(strips: Sequence[Filmstrip], *, each: int = 4) -> tuple[Chapter, ...]:
    """Film strips by what they show, at most `each` of a kind, empty kinds left out.

    The clearest come first: a judge sure of what did not happen is the disagreement to look at.
    """
    found = []
    for name, title, fits in CHAPTERS:
        fitting = sorted(filter(fits, strips), key=_sureness, reverse=True)
        if fitting:
            shown = tuple(_varied(fitting, each))
            found.append(Chapter(name=name, title=title, strips=shown, filmed=len(fitting)))
    return tuple(found)


def _sureness(strip: Filmstrip) -> float:
    return abs((0.5 if strip.probability is None else strip.probability) - 0.5)


def _varied(strips: Sequence[Filmstrip], count: int) -> list[Filmstrip]:
    """The first ones, but policies and tasks not yet shown before those shown already."""
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
