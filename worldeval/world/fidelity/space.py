"""Whether actions say where to be or how far to move, and who says so."""

from dataclasses import dataclass

from worldeval.data.space_text import read_space
from worldeval.world.recipe import ActuationRecipe

ABSOLUTE = ("ee-absolute", "joint-position")  # controls that name a place; the others name a motion


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What to do with an action to make the robot rest, or to mirror it."""

    absolute: bool  # rest is the first action, else zero
    step_dim: int  # numbers of one step of the controller within an action
    said_by: str  # in words: what this rests on


def meaning_of(space: str, actuation: ActuationRecipe, *, action_dim: int) -> Meaning:
    """As the data declare it in `space`; where they do not, as the world's recipe integrates it.

    A scale of 0, the default, does not tell absolute actions from a recipe that leaves it open:
    they are taken for absolute, and `said_by` tells that it is assumed.
    """
    if space:
        absolute = read_space(space).control in ABSOLUTE
        return Meaning(absolute=absolute, step_dim=action_dim, said_by=f"the data say {space}")
    if actuation.scale:
        said = f"the world's recipe moves by actuation.scale {actuation.scale}"
        return Meaning(absolute=False, step_dim=actuation.step_dim, said_by=said)
    return Meaning(
        absolute=True,
        step_dim=action_dim,
        said_by="assumed: the data declare no action space, and actuation.scale is 0",
    )
