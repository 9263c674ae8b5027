"""What Ctrl-World is told: every clip its own words, and a roll-out whatever it is asked to do."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.droid import droid_folder
from tests.support.told import WORDS, Told
from tests.world.ctrl_world.tiny import TINY
from worldeval import recipe as recipes
from worldeval.data.weighted import Weighted
from worldeval.errors import UserError
from worldeval.training.recipe import TrainerRecipe
from worldeval.world.ctrl_world.draw import draw
from worldeval.world.ctrl_world.family import by_words, new
from worldeval.world.ctrl_world.text import embed_tasks
from worldeval.world.ctrl_world.world import CtrlWorld
from worldeval.world.load import load_world
from worldeval.world.recipe import KinematicsRecipe
from worldeval.world.training.pipeline import train_world
from worldeval.world.training.prepare import Prepared, prepare
from worldeval.world.training.windows import Windows, steps

TOKEN = TINY.unet.token
NEW = "close the drawer"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, clip: Path) -> tuple[Path, Prepared, Path]:
    """A world in a folder, what it was trained on, and the text encoder's own copy."""
    home = tmp_path_factory.mktemp("words")
    encoder = home / "clip"
    encoder.symlink_to(clip)
    few = TrainerRecipe(steps=2, batch=2)
    recipe = replace(
        TINY,
        text=str(encoder),
        held_out=0.34,
        kinematics=KinematicsRecipe(width=8, depth=1, sight=4, unroll=2, trainer=few),
        trainer=replace(TINY.trainer, steps=2, batch=2),
    )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Weighted, "open", lambda part: Told(part.path))
        prepared = prepare(recipe, Path("arm"), [], home, seed=0, report=quiet)
    train_world(recipe, prepared, home, kind="ctrl_world", seed=0, report=quiet)
    return home, prepared, encoder


def test_every_clip_is_told_its_own_episodes_words(trained: tuple[Path, Prepared, Path]) -> None:
    home, prepared, encoder = trained
    world, data = the_world(home), prepared.episodes
    assert world.spec.instructions == tuple(sorted(WORDS)) and world.spec.tasks == ("any",)
    episodes = [4, 2, 0]
    rows = torch.from_numpy(data.begin[episodes]) + 2
    cut = by_words(world, Windows(data)).cut(rows, steps(2, 2))
    frame = world.denoiser.frame
    drawn = draw(3, TINY, frame=frame, future=2, generator=torch.Generator().manual_seed(0))
    given: list[torch.Tensor] = []

    class Listening(nn.Module):
        def forward(self, x, sigma, past, newest, poses, words, kept):
            given.append(words)
            return x

    world.denoiser.loss(Listening(), cut, drawn)
    read = embed_tasks(encoder, [WORDS[each % 3] for each in episodes], width=TOKEN)
    torch.testing.assert_close(given[0], read, atol=1e-3, rtol=1e-3)  # kept in half precision
    assert not torch.allclose(given[0][0], given[0][1])


def test_known_words_need_no_encoder_and_new_ones_do(trained: tuple[Path, Prepared, Path]) -> None:
    home, prepared, encoder = trained
    world = the_world(home)
    state = begun(world, prepared, [NEW, WORDS[0]])
    torch.testing.assert_close(state.words[:1], embed_tasks(encoder, [NEW], width=TOKEN))
    clip = encoder.resolve()
    encoder.unlink()
    try:
        alone = begun(world, prepared, [WORDS[0], WORDS[0]])
        assert torch.equal(alone.words[0], state.words[1])
        with pytest.raises(
            UserError, match=rf"'{NEW}'.*is no longer in .*Restore it, or use one of"
        ):
            begun(world, prepared, [WORDS[0], NEW])
    finally:
        encoder.symlink_to(clip)


def test_other_words_lead_elsewhere(trained: tuple[Path, Prepared, Path]) -> None:
    home, prepared, _ = trained
    world = the_world(home)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in world.denoiser.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    act = np.zeros((2, prepared.spec.action_dim), np.float32)
    one, same, other = (
        world.latents(world.step(begun(world, prepared, [words] * 2), act))
        for words in (WORDS[0], WORDS[0], NEW)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)


def test_nothing_is_said_where_no_encoder_is_named(trained: tuple[Path, Prepared, Path]) -> None:
    home, prepared, _ = trained
    world = the_world(home)
    world.denoiser.recipe = replace(world.denoiser.recipe, text="")
    assert not begun(world, prepared, [NEW, WORDS[0]]).words.any()


def test_droids_own_instructions_are_kept_each_once(clip: Path, tmp_path: Path) -> None:
    recipe = recipes.load("ctrl-world-tiny-droid", "model", {"text": str(clip)}).config
    found = prepare(recipe, droid_folder(), [], tmp_path, seed=0, report=quiet)
    assert len(found.spec.instructions) == 5  # of nine episodes five were told nothing
    assert "Put the blue block in the green bowl" in found.spec.instructions
    world = new(found.spec, recipe)
    assert world.denoiser.text.shape == (5, recipe.unet.token)
    rows = by_words(world, Windows(found.episodes)).task[found.episodes.begin]
    told = [found.spec.instructions[row] for row in rows]
    assert tuple(told) == found.episodes.instructions and told.count("") == 5


def quiet(stage: str, steps: int):
    return lambda step, loss: None


def the_world(home: Path) -> CtrlWorld:
    world = load_world(home)
    assert isinstance(world, CtrlWorld)
    return world


def begun(world: CtrlWorld, prepared: Prepared, tasks: list[str]):
    data = prepared.episodes
    rows = data.begin[:2]
    return world.begin_latents(data.gather(rows), data.pose[rows], tasks, [0, 1])
