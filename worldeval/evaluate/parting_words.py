"""Counts and sentences of an explanation, and why there is none."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np

from worldeval.runs.explanation import Explanation, PartedStart, PartingCluster
from worldeval.stats import Estimate, mcnemar, rate
from worldeval.stats.decisive import LEAST, starts_for

NO_MOMENT = "no single moment"
IN_PHASE = {
    "approach": "during the approach",
    "contact": "at contact",
    "after": "after contact",
    NO_MOMENT: "at no single moment",
}


@dataclass(frozen=True, kw_only=True)
class Differing:
    """Verdicts of two policies at the starts that they share."""

    first: str
    second: str
    tasks: tuple[str, ...]
    first_only: tuple[str, ...]  # starts at which only the first succeeds
    second_only: tuple[str, ...]
    both: tuple[str, ...]
    neither: tuple[str, ...]
    task_of: Mapping[str, str]

    @property
    def discordant(self) -> tuple[str, ...]:
        """Starts at which the verdicts differ."""
        return (*self.first_only, *self.second_only)

    @property
    def starts(self) -> int:
        """Starts that both were run from."""
        return len(self.discordant) + len(self.both) + len(self.neither)


def refusal(found: Differing, run: Path) -> str:
    """Say why two policies cannot be explained, and what would do."""
    differ = len(found.discordant)
    where = f"of {found.starts} starts" + (f" of {found.tasks[0]}" if len(found.tasks) == 1 else "")
    if not differ:
        return (
            f"{found.first} and {found.second} never part: at all {found.starts} starts their "
            f"verdicts agree (both succeed at {len(found.both)}, both fail at "
            f"{len(found.neither)}). There is nothing to explain; harder tasks or other starts may "
            "show a difference."
        )
    needed = starts_for(differ, found.starts) or 0
    each = ceil(needed / len(found.tasks))
    p = mcnemar(len(found.first_only), len(found.second_only))
    return (
        f"{found.first} and {found.second} are tied: their verdicts differ at {differ} {where} "
        f"({len(found.first_only)} won by {found.first}, {len(found.second_only)} by "
        f"{found.second}; p = {p:.2f}). With fewer than {LEAST}, chance could be the reason "
        f"whatever they show, so nothing is explained. About {needed} starts would do, {each} per "
        f"task: worldeval rank ... --starts {each} --out {run}."
    )


def clusters_of(starts: Sequence[PartedStart]) -> tuple[PartingCluster, ...]:
    """Count the starts that each policy loses by phase, the most frequent first."""
    found = []
    for loser in dict.fromkeys(one.loser for one in starts):
        own = [one for one in starts if one.loser == loser]
        phases = Counter(one.phase if one.clear else NO_MOMENT for one in own)
        for phase, count in phases.most_common():
            those = [one for one in own if (one.phase if one.clear else NO_MOMENT) == phase]
            frames = [one.begin for one in those]
            tasks = Counter(one.task for one in those)
            found.append(
                PartingCluster(
                    loser=loser,
                    phase=phase,
                    share=rate(count, len(own)),
                    count=count,
                    begin=(min(frames), int(np.median(frames)), max(frames)),
                    tasks=dict(tasks.most_common()),
                )
            )
    return tuple(sorted(found, key=lambda each: (-_lost(starts, each.loser), -each.count)))


def sentences_of(found: Explanation) -> Iterator[str]:
    """Say what was found, the most important first."""
    names = (found.first, found.second)
    lost = {name: _lost(found.parted, name) for name in names}
    for loser in sorted(names, key=lambda name: -lost[name]):
        own = [each for each in found.clusters if each.loser == loser]
        if not own:
            continue
        (winner,) = set(names) - {loser}
        parts = [_part(each) for each in own]
        yield (
            f"{loser} loses {own[0].count} of {lost[loser]} starts to {winner} "
            f"{_where(own[0].phase)} {_interval(own[0].share)}, {_frames(own[0])}"
            + (f"; {', '.join(parts[1:])}" if parts[1:] else "")
            + "."
        )
    differ = found.first_only + found.second_only
    yield (
        f"Their verdicts differ at {differ} of {found.starts} starts: {found.first_only} won by "
        f"{found.first}, {found.second_only} by {found.second}"
        + (
            f". This leaves open which is better (p = {found.p:.2f}): it is said where they part, "
            "not why one of them is better."
            if found.tied
            else "."
        )
    )
    if found.control_changes is not None:
        yield (
            f"At {found.controls} starts at which they agree, {_percent(found.control_changes)} of "
            f"the hand-overs change the verdict {_interval(found.control_changes)}."
        )
    if found.simulator is not None:
        yield from _simulated(found)
    else:
        why = f": {found.unchecked}" if found.unchecked else ""
        yield f"Not checked in a simulator{why}."
    if found.changed:
        yield (
            f"{found.changed} starts are left out, because imagining them anew gave another "
            "verdict."
        )
    if found.left_out:
        yield f"{found.left_out} further starts differ and were not looked at (--starts)."


def _simulated(found: Explanation) -> Iterator[str]:
    check = found.simulator
    assert check is not None
    if not check.differs.n:
        yield "No hand-over could be repeated in the simulator."
        return
    yield (
        f"In the simulator, {_count(check.differs)} of {check.differs.n} starts have the same "
        f"winner and loser {_interval(check.differs)}"
        + (
            f"; of these, the outcome flips at the same chunk at {_count(check.confirmed)} of "
            f"{check.confirmed.n} {_interval(check.confirmed)} (a chunk chosen at random: "
            f"{check.chance:.0%})."
            if check.confirmed.n
            else "."
        )
    )


def _part(each: PartingCluster) -> str:
    return f"{each.count} {_where(each.phase)}"


def _where(phase: str) -> str:
    return IN_PHASE.get(phase, f"in the {phase}")


def _frames(each: PartingCluster) -> str:
    first, middle, last = each.begin
    if first == last:
        return f"decided at frame {first}"
    return f"decided at frames {first} to {last} (median {middle})"


def _interval(share: Estimate) -> str:
    return f"[{share.low:.0%}, {share.high:.0%}]" if share.has_interval else ""


def _percent(share: Estimate) -> str:
    return "none" if share.value is None else f"{share.value:.0%}"


def _count(share: Estimate) -> int:
    return round((share.value or 0.0) * (share.n or 0))


def _lost(starts: Sequence[PartedStart], loser: str) -> int:
    return sum(one.loser == loser for one in starts)
