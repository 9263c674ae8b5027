"""Read a chat model's answer: yes, no or unsure, with a probability. It never guesses."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WORDS = ("yes", "no", "unsure")
SCHEMA: Mapping[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "verdict",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "seen": {"type": "string", "description": "What the last frames show."},
                "success": {"type": "string", "enum": list(WORDS)},
            },
            "required": ["seen", "success"],
            "additionalProperties": False,
        },
    },
}
LOWEST = -1e6  # log-probability; what is lower, or no number, is not told
LEAST_MASS = 0.05  # of yes and no together, below which their ratio says nothing


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer of a model."""

    word: str  # yes, no or unsure
    seen: str = ""
    probability: float | None = None  # of yes, from the log-probabilities; None: not given


def read_answer(text: str, logprobs: Sequence[Any] = ()) -> Answer:
    """Read the JSON object in an answer.

    Args:
        text: of the message. A fence or words around the object are ignored.
        logprobs: of its tokens, as the chat API gives them.

    Raises:
        ValueError: it contains no such object, several that differ, or another word.
    """
    found = [each for part in re.findall(r"\{[^{}]*\}", text[:20_000]) if (each := _object(part))]
    words = {str(each["success"]).strip().lower() for each in found}
    if len(words) != 1:
        raise ValueError("the answer has no single JSON object with 'success'")
    (word,) = words
    if word not in WORDS:
        raise ValueError(f"the answer says {word[:40]!r}, not yes, no or unsure")
    probability = None if word == "unsure" else _probability(word, logprobs)
    return Answer(word=word, seen=str(found[-1].get("seen", ""))[:1000], probability=probability)


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("success"), str) else None


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):  # {"success": "no", "success": "yes"} says both
        raise ValueError("a key stands twice")
    return found


def _probability(word: str, tokens: Sequence[Any]) -> float | None:
    """Return P(yes) / (P(yes) + P(no)) at the token that gave the word; None if it is not told."""
    for token in reversed([each for each in tokens if isinstance(each, Mapping)]):
        if _plain(token.get("token")) != word:
            continue
        mass = dict.fromkeys(("yes", "no"), 0.0)
        others = token.get("top_logprobs")
        for other in others if isinstance(others, list) else ():
            said, value = _plain(_of(other, "token")), _of(other, "logprob")
            if said in mass and type(value) in (int, float) and LOWEST < value < math.inf:
                mass[said] += math.exp(min(float(value), 0.0))
        total = mass["yes"] + mass["no"]
        if not LEAST_MASS <= total <= 1.01 or (word == "yes") != (mass["yes"] >= mass["no"]):
            return None  # of another token, or invented
        return mass["yes"] / total
    return None


def _of(found: Any, key: str) -> Any:
    return found.get(key) if isinstance(found, Mapping) else None


def _plain(token: Any) -> str:
    return str(token).strip(" \"'\n\t").lower()
