"""How far an imagined episode can be trusted, computed from roll-out and judge signals."""

import math
from collections.abc import Mapping, Sequence

# Signals between 0 and 1 that count as doubts, 0 meaning none. Other signals of a roll-out are
# stored and can be used in --select, but do not affect trust.
DOUBTS = ("disagreement", "mended_actions")


def signals(given: Mapping[str, float], votes: Sequence[float]) -> dict[str, float | None]:
    """Return every signal of one episode by name, with a total `trust` from 0 to 1.

    Args:
        given: signals of the closed loop, such as `mended_actions`, the share of action numbers
            that had to be clipped. A `trust` of its own, from 0 to 1, counts like a doubt.
        votes: success probabilities of the judge's members; the difference between the highest
            and the lowest is the `disagreement`.

    Trust is one minus the largest doubt. A signal that is not a finite number becomes None; if it
    is a doubt, trust is 0.
    """
    found = {"disagreement": max(votes) - min(votes) if votes else 0.0, **given}
    kept = {name: float(value) if math.isfinite(value) else None for name, value in found.items()}
    trusts = [_trust(kept[name]) for name in DOUBTS if name in kept]
    if "trust" in kept:
        trusts.append(kept["trust"] or 0.0)
    return {**kept, "trust": round(min(trusts), 6)}


def _trust(doubt: float | None) -> float:
    return 0.0 if doubt is None else min(max(1.0 - doubt, 0.0), 1.0)
