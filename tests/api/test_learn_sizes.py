"""The judge's share of the time of `learn`."""

from pathlib import Path

from worldeval.api.learn_sizes import LEAST_STEPS, sized_judge
from worldeval.files import read_json, write_json
from worldeval.judge.recipe import JudgeRecipe
from worldeval.world.protocol import WorldSpec

WORLD = WorldSpec(
    views=("top", "side"), size=(16, 16), latent=(4, 2, 2), action_dim=2, pose_dim=2,
    tasks=("reach",), fps=5.0,
)  # fmt: skip
RECIPE = JudgeRecipe(channels=4, hidden=4, recurrent=4)


def test_a_judge_trains_as_long_as_its_recipe_says_at_most(tmp_path: Path) -> None:
    assert sized_judge(WORLD, RECIPE, 5, 1e6, tmp_path) == RECIPE.trainer.steps


def test_a_short_time_gives_few_steps_and_a_repeated_call_agrees(tmp_path: Path) -> None:
    write_json(tmp_path / "sizes.json", {"minutes": 1e-9, "steps": {"trainer.steps": 60}})
    assert sized_judge(WORLD, RECIPE, 5, 1e-9, tmp_path) == LEAST_STEPS
    kept = read_json(tmp_path / "sizes.json")
    assert kept["steps"] == {"trainer.steps": 60}
    write_json(tmp_path / "sizes.json", {**kept, "judge": {**kept["judge"], "steps": 77}})
    assert sized_judge(WORLD, RECIPE, 5, 1e-9, tmp_path) == 77
