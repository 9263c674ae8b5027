"""Splits in `meta/info.json`, by episode index: `{"train": "0:80", "val": "80:100"}`."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worldeval.data.finding import DataError
from worldeval.data.split import TRAINING

SPAN = re.compile(r"(\d+):(\d+)")


def read_splits(info: Mapping[str, Any], where: Path) -> dict[str, range]:
    """Read the episodes of every split; empty if the key is missing."""
    given = info.get("splits") or {}
    if not isinstance(given, dict):
        raise DataError(
            where, "splits", f"{given!r:.80} is not a JSON object that maps split names to spans."
        )
    out = {}
    for name, text in given.items():
        span = SPAN.fullmatch(text) if isinstance(text, str) else None
        if span is None:
            raise DataError(where, f"splits.{name}", f"{text!r:.80} is not a span such as '0:80'.")
        out[str(name)] = range(int(span[1]), int(span[2]))
    return out


def split_of(splits: Mapping[str, range], episode: int) -> str:
    """Return the split of an episode; one that is in no split is used for training."""
    return next((name for name, span in splits.items() if episode in span), TRAINING)
