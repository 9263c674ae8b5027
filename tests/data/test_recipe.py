"""A recipe for recorded data: which views, and which episodes are kept from training."""

from pathlib import Path

import pytest

from worldeval.config import build
from worldeval.data.formats.lerobot.layout import Layout
from worldeval.data.formats.lerobot.write import LeRobotWriter
from worldeval.data.recipe import RecordedRecipe
from worldeval.errors import UserError


@pytest.fixture
def folder(tmp_path: Path, made) -> Path:
    layout = Layout(
        fps=10.0,
        views={"top": (48, 64), "wrist": (32, 32)},
        action_names=("dx", "dy", "dz", "grip"),
        pose_names=("x", "y", "z"),
    )
    with LeRobotWriter(tmp_path / "set", layout) as writer:
        for index in range(9):  # three of each of three tasks
            writer.add(made(index, length=2), columns={"split": "train"})
    return tmp_path / "set"


def test_named_episodes_are_held_out(folder: Path) -> None:
    recipe = RecordedRecipe(path=folder, views=("wrist",), held_out=("made-2", "made-5"))
    source = recipe.build()
    assert recipe.chosen(source) == ("wrist",)
    held = recipe.held(source, seed=0)
    assert [head.id for head, out in zip(source.heads, held, strict=True) if out] == [
        "made-2",
        "made-5",
    ]


def test_a_share_of_every_task_is_held_out_the_same_for_a_seed(folder: Path) -> None:
    recipe = RecordedRecipe(path=folder, held_out_share=1 / 3)
    source = recipe.build()
    held = recipe.held(source, seed=4)
    assert [held[task::3].sum() for task in range(3)] == [1, 1, 1]
    assert (held == recipe.held(source, seed=4)).all()


def test_the_datasets_own_split_counts(droid: Path) -> None:
    recipe = RecordedRecipe(path=droid)
    source = recipe.build()
    held = recipe.held(source, seed=0)
    assert [head.id for head, out in zip(source.heads, held, strict=True) if out] == ["199", "1799"]


def test_mistakes_name_what_there_is(folder: Path) -> None:
    with pytest.raises(UserError, match=r"'front' is not in .* \(it has: top, wrist\)"):
        RecordedRecipe(path=folder, views=("front",)).build()
    recipe = RecordedRecipe(path=folder, held_out=("made-99",))
    with pytest.raises(UserError, match="held-out episode 'made-99' is not in"):
        recipe.held(recipe.build(), seed=0)
    with pytest.raises(UserError, match=r"mine\.yaml: format 'hdf' is unknown"):
        build(RecordedRecipe, {"path": "x", "format": "hdf"}, where="mine.yaml")
