"""Compare the judge of a protocol with its world model and its tasks."""

from pathlib import Path

from worldeval.errors import UserError
from worldeval.judge.judge import Judge, load_judge
from worldeval.judge.made_for import refuse_mismatch
from worldeval.rollout.recipe import ProtocolRecipe
from worldeval.world.load import tokenizer_hash
from worldeval.world.protocol import WorldSpec


def check_pair(recipe: ProtocolRecipe, world: WorldSpec, judge: Judge | None = None) -> None:
    """Refuse a judge that does not fit, before anything is imagined.

    Raises:
        UserError: it was trained in another kind of world model, or does not know a task.
    """
    judge = load_judge(Path(recipe.judge)) if judge is None else judge
    if judge.made_for is not None:
        refuse_mismatch(
            judge.made_for,
            world,
            tokenizer_hash(Path(recipe.world)) if recipe.world else "",
            judge=recipe.judge or "given",
            where=recipe.world or "given",
        )
    unknown = [task for task in recipe.tasks if not judge.knows(task)]
    if unknown:
        raise UserError(
            f"The judge {recipe.judge} does not know the task '{unknown[0]}'. Train one with "
            "roll-outs of it, or with --text-encoder, which reads any instruction."
        )
