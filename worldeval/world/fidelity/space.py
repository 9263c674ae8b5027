"""Whether actions are absolute or relative, and how this is known."""

from dataclasses import dataclass

from worldeval.data.space_text import read_space
from worldeval.world.recipe import ActuationRecipe

ABSOLUTE = ("ee-absolute", "joint-position")  # controls that are targets; the others are motions


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """How to make the robot rest, or mirror its motion, by its actions."""

    absolute: bool  # rest is the first action, else zero
    step_dim: int  # numbers of one controller step within an action
    said_by: str  # the source of this information, in words


def meaning_of(space: str, actuation: ActuationRecipe, *, action_dim: int) -> Meaning:
    """Interpret actions by the dataset's `space` or, without it, by the world's recipe.

    A scale of 0, the default, does not distinguish absolute actions from a recipe that leaves it
    open; actions are then taken for absolute, and `said_by` notes the assumption.
    """
    if space:
        absolute = read_space(space).control in ABSOLUTE
        return Meaning(absolute=absolute, step_dim=action_dim, said_by=f"the dataset: {space}")
    if actuation.scale:
        said = f"the world's recipe moves by actuation.scale {actuation.scale}"
        return Meaning(absolute=False, step_dim=actuation.step_dim, said_by=said)
    return Meaning(
        absolute=True,
        step_dim=action_dim,
        said_by="assumed: the dataset declares no action space, and actuation.scale is 0",
    )
