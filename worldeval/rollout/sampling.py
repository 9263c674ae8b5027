"""Imagine episodes as a protocol specifies: number of sampler steps, and guidance to a policy.

All code that imagines by a protocol loads its world and rolls out policies with these functions.
"""

from collections.abc import Sequence
from pathlib import Path

from worldeval.errors import UserError
from worldeval.policy.protocol import Policy
from worldeval.record import Rollout, Start
from worldeval.rollout.guided import imagine_guided
from worldeval.rollout.loop import imagine
from worldeval.rollout.recipe import ProtocolRecipe
from worldeval.world.load import load_world, read_card
from worldeval.world.recipe import allowed_steps
from worldeval.world.uwm.world import UwmWorld
from worldeval.world.world import World

GUIDED = "uwm"  # the family that samples actions


def check_sampling(recipe: ProtocolRecipe, folder: Path) -> None:
    """Refuse settings that the world model in `folder` does not support, by its card alone.

    Raises:
        UserError: the sampler does not take that number of steps, or guidance was requested for a
            world model that does not sample actions.
    """
    card = read_card(folder)
    if recipe.sampler_steps is not None:
        allowed_steps(card["recipe"].sampler, recipe.sampler_steps)
    if recipe.guided is not None and card["kind"] != GUIDED:
        raise UserError(
            f"--guided samples actions together with the frames they lead to, but {folder} is a "
            f"world model of the family '{card['kind']}', which only takes actions as input. Use a "
            f"`{GUIDED}` model: worldeval train --model uwm-tiny."
        )


def sampled_world(recipe: ProtocolRecipe, folder: Path) -> World:
    """Load the world model in `folder` with the protocol's number of sampler steps."""
    check_sampling(recipe, folder)
    world = load_world(folder)
    if recipe.sampler_steps is not None:
        world.steps = recipe.sampler_steps
    return world


def roll_out(
    recipe: ProtocolRecipe,
    world: World,
    policy: Policy,
    starts: Sequence[Start],
    *,
    seeds: Sequence[int],
) -> list[Rollout]:
    """Imagine an episode from every start: the policy's own, or guided towards it."""
    given = {"horizon": recipe.horizon, "replan_every": recipe.replan_every, "seeds": seeds}
    if recipe.guided is None:
        return imagine(world, policy, starts, **given)
    assert isinstance(world, UwmWorld), "check_sampling was not asked"
    return imagine_guided(
        world, policy, starts, guided=recipe.guided, steps=recipe.sampler_steps, **given
    )
