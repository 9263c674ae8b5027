"""The gates of a ranking: what the world model must not do, and whether it did."""

from collections.abc import Mapping
from dataclasses import dataclass

from worldeval.report.number import short
from worldeval.stats import Estimate
from worldeval.stats.findings import FALSE_SUCCESS, INFORMATIVENESS

# The bounds of `worldeval/evaluate`, which stands above this layer; a test holds them equal.
NEAR_MISS = 0.3
ACTION_EFFECT = 0.3


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One gate: the number, its threshold, and whether it holds (None: it cannot be said)."""

    title: str
    meaning: str
    value: Estimate
    threshold: str
    passed: bool | None


@dataclass(frozen=True, kw_only=True)
class _Kind:
    title: str
    meaning: str
    bound: float | None = None  # None: shown for scale, no gate
    below: bool = True  # the upper end must not exceed the bound; else the lower must reach it


KINDS = {
    "false_success": _Kind(
        title="Replayed failures that come out as success",
        meaning="Recorded failures, their actions carried out in the world model. An optimistic "
        "world model turns them into successes.",
        bound=FALSE_SUCCESS,
    ),
    "near_miss_false_success": _Kind(
        title="The same for near misses alone",
        meaning="Failures by a centimetre or two, where optimism shows first.",
        bound=NEAR_MISS,
    ),
    "true_success": _Kind(
        title="Replayed successes that come out as success",
        meaning="For scale: what the same world model makes of actions that did succeed.",
    ),
    "action_effect": _Kind(
        title="Effect of the actions",
        meaning="Predicted success lost when the actions are zeroed or shuffled. A world model "
        "that does not listen to actions loses nothing.",
        bound=ACTION_EFFECT,
        below=False,
    ),
    "informativeness": _Kind(
        title="What the verdicts tell of the outcome",
        meaning="Sensitivity plus specificity minus one, on the same replays: 1 is a judge that is "
        "always right, 0 one that guesses.",
        bound=INFORMATIVENESS,
        below=False,
    ),
}


def read_gates(found: Mapping[str, Estimate]) -> tuple[Gate, ...]:
    """The gates of a summary, the known ones first."""
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
    # A point alone says nothing of how bad it may be: without an interval no gate is passed.
    if kind.below:
        passed = None if value.high is None else value.high <= kind.bound
        return passed, f"upper end at most {short(kind.bound)}"
    passed = None if value.low is None else value.low >= kind.bound
    return passed, f"lower end at least {short(kind.bound)}"
