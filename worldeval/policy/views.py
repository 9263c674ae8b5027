"""Camera names: the same camera may have different names in different datasets."""

from collections.abc import Collection

from worldeval.errors import UserError, did_you_mean

# Each row is one DROID camera with its names in DROID's files and in derived datasets.
SAME = (
    ("exterior_1", "exterior_image_1_left", "exterior_1_left"),
    ("exterior_2", "exterior_image_2_left", "exterior_2_left"),
    ("wrist", "wrist_image_left", "wrist_left"),
)


def same_view(name: str, known: Collection[str]) -> str | None:
    """The camera of `known` that `name` refers to; None if there is none."""
    if name in known:
        return name
    row = next((row for row in SAME if name in row), ())
    return next((other for other in row if other in known), None)


def find_view(name: str, known: Collection[str], *, policy: str, remedy: str) -> str:
    """Apply `same_view` for a policy that needs the view.

    Raises:
        UserError: the world has no such camera; `remedy` explains how to name one.
    """
    found = same_view(name, known)
    if found is None:
        raise UserError(
            f"Policy {policy} needs view '{name}', but the world has {', '.join(known)}."
            f"{did_you_mean(name, known)} {remedy}"
        )
    return found
