"""How a protocol wants episodes imagined: in how many steps of the sampler, and how near a policy.

Whoever imagines by a protocol (workers, gates) loads its world and rolls policies out through here.
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
from worldeval.world.sampler import allowed_steps
from worldeval.world.uwm.world import UwmWorld
from worldeval.world.world import World

GUIDED = "uwm"  # the family that draws actions


def check_sampling(recipe: ProtocolRecipe, folder: Path) -> None:
    """Refuse what the world model in `folder` cannot do, by its card alone.

    Raises:
        UserError: a number of steps that its sampler does not take, or guidance of a world that
            draws no actions.
    """
    card = read_card(folder)
    if recipe.sampler_steps is not None:
        allowed_steps(card["recipe"].sampler, recipe.sampler_steps)
    if recipe.guided is not None and card["kind"] != GUIDED:
        raise UserError(
            f"--guided draws actions together with where they lead, and {folder} holds a world "
            f"model of the family '{card['kind']}', which is told its actions. Only `{GUIDED}` "
            "draws them: worldeval train --model uwm-tiny."
        )


def sampled_world(recipe: ProtocolRecipe, folder: Path) -> World:
    """The world model in `folder`, whose sampler takes the steps that the protocol wants."""
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
    """An episode from every start: the policy's own, or drawn near it where that is wanted."""
    given = {"horizon": recipe.horizon, "replan_every": recipe.replan_every, "seeds": seeds}
    if recipe.guided is None:
        return imagine(world, policy, starts, **given)
    assert isinstance(world, UwmWorld), "check_sampling was not asked"
    return imagine_guided(
        world, policy, starts, guided=recipe.guided, steps=recipe.sampler_steps, **given
    )
