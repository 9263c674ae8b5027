"""Get the starts of an evaluation from the simulator if there is one, else from a file."""

from collections.abc import Callable, Sequence
from pathlib import Path

from worldeval.envs.address import unavailable
from worldeval.errors import UserError
from worldeval.record import Start
from worldeval.rollout.recipe import ProtocolRecipe, TruthRecipe
from worldeval.rollout.starts import read_starts, simulated_id, simulated_starts, sized
from worldeval.world.load import CARD, read_card


def first_starts(
    recipe: ProtocolRecipe, *, beyond: int, processes: int, say: Callable[[str], None]
) -> list[Start]:
    """Get the recipe's number of starts per task, without the first `beyond`.

    Raises:
        UserError: there is neither a simulator nor a file of starts.
    """
    truth = recipe.truth
    problem = "the protocol names no simulator" if truth is None else unavailable(truth.env)
    if truth is not None and problem is None:
        seeds = range(recipe.first_seed + beyond, recipe.first_seed + recipe.starts)
        say("getting the starts from the simulator")
        found = simulated_starts(recipe.tasks, list(seeds), truth, jobs=processes)
        world = Path(recipe.world)  # absent if only the simulator is asked
        return sized(found, read_card(world)["spec"]) if (world / CARD).is_file() else found
    if recipe.starts_file:
        starts = read_starts(Path(recipe.starts_file))
        return [
            start
            for task in recipe.tasks
            for start in [one for one in starts if one.task == task][beyond : recipe.starts]
        ]
    raise UserError(
        f"There are no starts: no simulator can provide them ({problem}), and the protocol "
        "names no starts_file. Create one from recorded episodes with `worldeval starts DATA`."
    )


def refuse_recorded(starts: Sequence[Start], truth: TruthRecipe) -> None:
    """Raise UserError if a start was not made by the simulator's reset, which cannot repeat it."""
    recorded = next((s for s in starts if s.id != simulated_id(s.task, s.seed)), None)
    if recorded is not None:
        raise UserError(
            f"Start '{recorded.id}' was recorded, so the simulator {truth.env} cannot begin there. "
            "Omit the starts: they are then taken from the simulator."
        )
