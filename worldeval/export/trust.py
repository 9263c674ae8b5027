"""How far an imagined episode is to be trusted, from what roll-out and judge left behind."""

import math
from collections.abc import Mapping, Sequence

# Signals between 0 and 1 that are doubts: 0 where there is none. Other signals of a roll-out are
# kept and can be selected by, but their scale says nothing about trust.
DOUBTS = ("disagreement", "mended_actions")


def signals(given: Mapping[str, float], votes: Sequence[float]) -> dict[str, float | None]:
    """Every signal of one episode by name, with `trust` from 0 to 1 as the sum of them.

    Args:
        given: what the closed loop noted, such as `mended_actions`, the share of action numbers
            that had to be clipped. A `trust` of its own, from 0 to 1, counts like a doubt.
        votes: probabilities of success from the members of the judge; the distance between the
            highest and the lowest is the `disagreement`.

    An episode is trusted as far as its weakest sign: 1 less the largest doubt. A signal that could
    not be worked out (not a finite number) is None, and one that is a doubt leaves no trust.
    """
    found = {"disagreement": max(votes) - min(votes) if votes else 0.0, **given}
    kept = {name: float(value) if math.isfinite(value) else None for name, value in found.items()}
    trusts = [_trust(kept[name]) for name in DOUBTS if name in kept]
    if "trust" in kept:
        trusts.append(kept["trust"] or 0.0)
    return {**kept, "trust": round(min(trusts), 6)}


def _trust(doubt: float | None) -> float:
    return 0.0 if doubt is None else min(max(1.0 - doubt, 0.0), 1.0)
