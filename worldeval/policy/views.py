"""Names of cameras: what one dataset calls a camera, another calls otherwise."""

from collections.abc import Collection

from worldeval.errors import UserError, did_you_mean

# Each row is one camera of DROID, as its own files and as datasets made of it call it.
SAME = (
    ("exterior_1", "exterior_image_1_left", "exterior_1_left"),
    ("exterior_2", "exterior_image_2_left", "exterior_2_left"),
    ("wrist", "wrist_image_left", "wrist_left"),
)


def same_view(name: str, known: Collection[str]) -> str | None:
    """The camera of `known` that `name` means; None where there is none."""
    if name in known:
        return name
    row = next((row for row in SAME if name in row), ())
    return next((other for other in row if other in known), None)


def find_view(name: str, known: Collection[str], *, policy: str, remedy: str) -> str:
    """The same, for a policy that reads it.

    Raises:
        UserError: the world has no such camera; `remedy` says how to name one.
    """
    found = same_view(name, known)
    if found is None:
        raise UserError(
            f"Policy {policy} reads view '{name}'; the world has {', '.join(known)}."
            f"{did_you_mean(name, known)} {remedy}"
        )
    return found
