"""Names for unnamed dimensions of a dataset, and unique names for views."""

from collections import Counter
from collections.abc import Mapping


def numbered(prefix: str, size: int) -> tuple[str, ...]:
    """`prefix_0`, `prefix_1`, ..."""
    return tuple(f"{prefix}_{i}" for i in range(size))


def views_of(short: Mapping[str, str]) -> dict[str, str]:
    """view -> key, from the short name of every key; keys that share one keep their whole name.

    So no view hides another.
    """
    counts = Counter(short.values())
    whole = {key: name if counts[name] == 1 else key for key, name in short.items()}
    if len(set(whole.values())) < len(whole):  # a whole name is another's short one
        whole = {key: key for key in short}
    return {name: key for key, name in whole.items()}
