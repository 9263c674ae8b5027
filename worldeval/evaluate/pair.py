"""Compare the judge of a protocol with its world model and its tasks."""

from dataclasses import replace
from pathlib import Path

from worldeval.errors import UserError
from worldeval.judge.address import read_judge_address
from worldeval.judge.load import load_frame_judge, load_judge, load_rule
from worldeval.judge.made_for import refuse_mismatch
from worldeval.judge.panel import JudgePanel
from worldeval.judge.protocol import Judge
from worldeval.rollout.recipe import ProtocolRecipe
from worldeval.world.load import tokenizer_hash
from worldeval.world.protocol import WorldSpec


def check_pair(recipe: ProtocolRecipe, world: WorldSpec, judge: Judge | None = None) -> None:
    """Refuse a judge that does not fit, before anything is imagined.

    Raises:
        UserError: it was trained in another kind of world model, or does not know a task.
    """
    if judge is None:
        address = read_judge_address(recipe.judge)
        for member in address.members.values():
            check_pair(replace(recipe, judge=member), world)
        if address.kind == "panel":
            return
        if address.kind == "rule":
            load_rule(address, columns=world.pose_dim)  # raises errors early
            return
        if address.kind != "folder":
            load_frame_judge(address, columns=world.pose_dim)  # raises errors early
            return
        judge = load_judge(recipe.judge)
    if isinstance(judge, JudgePanel):
        for one in judge.judges:
            check_pair(recipe, world, one)
        return
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
