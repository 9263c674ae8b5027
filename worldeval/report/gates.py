"""The gates of a ranking: tests that the world model must pass before its ranking is trusted."""

from collections.abc import Mapping
from dataclasses import dataclass

from worldeval.report.number import short
from worldeval.stats import Estimate
from worldeval.stats.findings import FALSE_SUCCESS, INFORMATIVENESS

# Copies of the bounds in `worldeval/evaluate`, a higher layer; a test checks that they are equal.
NEAR_MISS = 0.3
ACTION_EFFECT = 0.3


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A gate: its value, its threshold, and whether it passed (None if undecided)."""

    title: str
    meaning: str
    value: Estimate
    threshold: str
    passed: bool | None


@dataclass(frozen=True, kw_only=True)
class _Kind:
    title: str
    meaning: str
    bound: float | None = None  # None: shown for reference, not a gate
    below: bool = True  # upper limit at most the bound; otherwise lower limit at least the bound


KINDS = {
    "false_success": _Kind(
        title="Recorded failures judged as success",
        meaning="The actions of recorded failures are replayed in the world model. An optimistic "
        "world model turns them into successes.",
        bound=FALSE_SUCCESS,
    ),
    "near_miss_false_success": _Kind(
        title="Recorded near misses judged as success",
        meaning="The same for failures by a centimetre or two, where optimism shows first.",
        bound=NEAR_MISS,
    ),
    "true_success": _Kind(
        title="Recorded successes judged as success",
        meaning="For reference: the same replay with actions that did succeed.",
    ),
    "action_effect": _Kind(
        title="Drop in success when actions are zeroed or shuffled",
        meaning="A world model that ignores the actions shows no drop.",
        bound=ACTION_EFFECT,
        below=False,
    ),
    "informativeness": _Kind(
        title="Informativeness of the verdicts",
        meaning="Sensitivity plus specificity minus one, on the same replays: 1 for a judge that "
        "is always right, 0 for one that guesses.",
        bound=INFORMATIVENESS,
        below=False,
    ),
}


def read_gates(found: Mapping[str, Estimate]) -> tuple[Gate, ...]:
    """Return the gates of a summary, known ones first."""
    names = [*(name for name in KINDS if name in found), *(n for n in found if n not in KINDS)]
    return tuple(_gate(name, found[name]) for name in names)


def _gate(name: str, value: Estimate) -> Gate:
    kind = KINDS.get(name)
    passed, threshold = _verdict(kind, value)
    return Gate(
        title=kind.title if kind else name.replace("_", " ").capitalize(),
        meaning=kind.meaning if kind else "",
        value=value,
        threshold=threshold,
        passed=passed,
    )


def _verdict(kind: _Kind | None, value: Estimate) -> tuple[bool | None, str]:
    if kind is None or kind.bound is None:
        return None, ""
    # A point estimate does not bound the error, so a gate without an interval is not passed.
    if kind.below:
        passed = None if value.high is None else value.high <= kind.bound
        return passed, f"upper limit at most {short(kind.bound)}"
    passed = None if value.low is None else value.low >= kind.bound
    return passed, f"lower limit at least {short(kind.bound)}"
