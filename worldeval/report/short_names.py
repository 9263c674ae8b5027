"""Shorten the names of policies so that lineage and step can both be told.

A name is a lineage and a step, such as `bc-all/step-2400`. The lineage is cut in the middle and the
step is kept; names that would become alike are left whole.
"""

import re
from collections.abc import Sequence

CUT = "…"
LEAST = 6  # characters of a lineage that are worth showing


def short_names(names: Sequence[str], width: int) -> dict[str, str] | None:
    """Return each name in at most `width` characters.

    Different lineages stay different, and so do different steps of one lineage.

    Returns:
        Name -> short name; None if the names cannot be told apart in that width.
    """
    if all(len(name) <= width for name in names):
        return {name: name for name in names}
    parts = {name: lineage_and_step(name) for name in names}
    for end in range(max(width, 1)):
        short = {name: _cut(*parts[name], width, end) for name in names}
        found = {name: text for name, text in short.items() if text is not None}
        lineages = {parts[name][0]: text[0] for name, text in found.items()}
        if len(found) < len(short) or len(set(lineages.values())) < len(lineages):
            continue
        whole = {name: "".join(text) for name, text in found.items()}
        if len(set(whole.values())) == len(whole):
            return whole
    return None


def lineage_and_step(name: str) -> tuple[str, str]:
    """Split a name before its last `/` or `@` if a step with digits follows, else at its end."""
    found = re.fullmatch(r"(.+?)([/@][^/@]*\d[^/@]*)", name, flags=re.DOTALL)
    return (found[1], found[2]) if found else (name, "")


def _cut(lineage: str, step: str, width: int, end: int) -> tuple[str, str] | None:
    """Cut a lineage to what `step` leaves of `width`, with `end` of its last characters."""
    room = width - len(step)
    if len(lineage) <= room:
        return lineage, step
    begin = room - len(CUT) - end
    if begin < 1 or begin + end < LEAST:
        return None
    return f"{lineage[:begin]}{CUT}{lineage[len(lineage) - end :]}", step
