"""Names for dimensions that a dataset leaves nameless."""


def numbered(prefix: str, size: int) -> tuple[str, ...]:
    """`prefix_0`, `prefix_1`, ..."""
    return tuple(f"{prefix}_{i}" for i in range(size))
