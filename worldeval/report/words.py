"""The sentences at the top of a report: what the run supports, in reading order."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from worldeval.report.contents import ReportContents
from worldeval.report.number import seconds, short, shown
from worldeval.report.table import PolicyRow
from worldeval.stats import Comparison

SAME = 0.005  # rates that read the same with two decimals


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The opening statement of a report."""

    verdict: str  # one sentence
    refused: bool  # True if the run must not be read as a ranking
    sentences: tuple[str, ...]


def escaped(text: str) -> str:
    """Escape text from a run so that Markdown shows it literally, without markup or images."""
    flat = " ".join(str(text).split())
    flat = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_|\[\]~#$]|:(?=\w))", r"\\\1", flat)


def headline(contents: ReportContents) -> Headline:
    """State which policy is best, and whether the run supports that."""
    refused = bool(contents.refusals)
    if not contents.rows:
        return Headline(verdict="No policy was ranked.", refused=refused, sentences=())
    return Headline(
        verdict=_verdict(contents.rows, refused=refused),
        refused=refused,
        sentences=tuple(filter(None, (_size(contents), _truth(contents), _agreement(contents)))),
    )


def _verdict(rows: Sequence[PolicyRow], *, refused: bool) -> str:
    first = rows[0]
    if refused:  # and no rate, which some refusals withhold
        return f"This must not be read as a ranking. First in imagination: {first.policy}."
    rate = f"predicted success {shown(first.predicted)}"
    if len(rows) == 1:
        return f"{first.policy}: {rate}."
    tied = [row for row in rows[1:] if set(row.letters) & set(first.letters)]
    if not first.letters:
        return f"{first.policy} leads, {rate}."
    if not tied:
        return f"{first.policy} is best, {rate}; it is separated from every other policy."
    others = _listed([row.policy for row in tied])
    return f"{first.policy} leads, {rate}; it is statistically tied with {others}."


def _size(contents: ReportContents) -> str:
    """Say how many episodes were imagined, and what they cost."""
    counts = [_count(len(contents.rows), "policy", "policies")]
    if contents.tasks:
        counts.append(_count(len(contents.tasks), "task", "tasks"))
    text = ", ".join(counts)
    if contents.episodes:
        text += f", {contents.episodes:,} imagined episodes"
    if contents.seconds_per_episode is not None:
        text += f" of {seconds(contents.seconds_per_episode)} CPU time each"
    return f"{text}."


def _truth(contents: ReportContents) -> str | None:
    """Say how much measured success is lost by choosing the best predicted policy."""
    tried = [row for row in contents.rows if row.truth is not None and row.truth.known]
    kind = contents.compared
    if not tried:
        return None
    if contents.rows[0] is not tried[0]:
        return f"{contents.rows[0].policy} itself was not {kind.done}."
    first, best = tried[0], max(tried, key=_real)
    text = f"{kind.adjective.capitalize()} success of {first.policy}: {shown(first.truth)}."
    if _real(best) - _real(first) < SAME:
        return f"{text} No policy does better."
    lost = short(_real(best) - _real(first))
    text += f" The best, {best.policy}, has {shown(best.truth)}"
    return f"{text}: choosing by imagination loses {lost}."


def _agreement(contents: ReportContents) -> str | None:
    imagination = {each.kind: each.measures for each in contents.evaluators}
    rho = imagination.get("imagination", {}).get("spearman")
    if rho is None or not rho.known:
        return None
    text = f"Rank agreement with {contents.compared.source} (Spearman): {shown(rho)}"
    ceiling = imagination.get("ceiling", {}).get("spearman")
    if ceiling is not None and ceiling.known:
        text += (
            f"; a perfect binary evaluator with as many starts would reach {short(ceiling.value)}"
        )
    return f"{text}."


def separation(duels: Sequence[Comparison], *, level: float) -> str:
    """State the criterion by which these pairs are separated."""
    if any(duel.order is not None for duel in duels):
        return f"one order of the true rates has a probability of at least {50 * (1 + level):g}%"
    return "the paired test rejects after Holm's correction over all pairs"


def needed(duel: Comparison) -> str:
    """Say what would separate a tied pair, as a sentence after a space; "" if that is unknown."""
    if duel.needed:
        return f" If the observed difference holds, about {duel.needed:,} shared starts are needed."
    if duel.needed_trials:
        return (
            " No number of imagined starts can separate them; about "
            f"{duel.needed_trials:,} measured trials of each can."
        )
    return ""


def _real(row: PolicyRow) -> float:
    return row.truth.value if row.truth is not None and row.truth.value is not None else -1.0


def _count(n: int, one: str, many: str) -> str:
    return f"{n} {one if n == 1 else many}"


def _listed(names: Sequence[str]) -> str:
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3} others"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
