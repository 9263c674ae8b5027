"""Success rules of episodes, written as text: `reward >= 0.95 in the last frame`."""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from worldeval.axes import Array, Bool, Float

Where = Literal["any", "last", "every", "sum"]
OPERATORS: dict[str, Callable] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
PHRASES: dict[str, Where] = {
    "": "any",
    "in any frame": "any",
    "in the last frame": "last",
    "in every frame": "every",
    "over the episode": "sum",
}
FORM = re.compile(
    r"(?P<key>[\w./-]+)\s*(?P<sign>>=|<=|==|>|<)\s*(?P<number>[-+]?[\d.]+(?:e[-+]?\d+)?)"
    r"\s*,?\s*(?P<where>[a-z ]*)"
)


@dataclass(frozen=True, kw_only=True)
class SuccessRule:
    """A comparison of `key` with a number in some frames; `sum` compares the episode's sum."""

    key: str  # 'reward' is whatever the format calls the reward
    sign: str
    number: float
    where: Where

    def flags(self, values: Float[Array, " t"]) -> Bool[Array, " t"] | None:
        """Success of every frame; None if the rule concerns the whole episode."""
        if self.where in ("sum", "every"):
            return None
        return np.asarray(OPERATORS[self.sign](values, self.number), bool)

    def holds(self, values: Float[Array, " t"]) -> bool:
        """Whether the episode with these values succeeded. NaN fulfils no rule."""
        compare = OPERATORS[self.sign]
        if self.where == "sum":
            return bool(compare(values.sum(), self.number))
        held = np.asarray(compare(values, self.number), bool)
        if self.where == "last":
            return bool(held[-1])
        return bool(held.all() if self.where == "every" else held.any())


def read_rule(text: str) -> SuccessRule:
    """Parse a success rule.

    Raises:
        ValueError: the text is not a valid rule.
    """
    found = FORM.fullmatch(text.strip())
    if found is None or found["where"].strip() not in PHRASES:
        phrases = "', '".join(phrase for phrase in PHRASES if phrase)
        raise ValueError(
            f"success '{text}' is not a valid rule. Write a key, a comparison and a number, such "
            f"as 'reward >= 0.95', and optionally where it must hold ('{phrases}'; default: any)"
        )
    return SuccessRule(
        key=found["key"],
        sign=found["sign"],
        number=float(found["number"]),
        where=PHRASES[found["where"].strip()],
    )
