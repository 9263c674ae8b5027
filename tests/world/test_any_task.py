"""A world that was trained on a robot's free words: all tasks are one to it, whatever they say."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.droid import droid_folder
from tests.support.told import WORDS, Told
from tests.support.toy import toy_recipe
from worldeval.data.weighted import Weighted
from worldeval.record import Start
from worldeval.serve.episodes import ServedEpisodes, Setting
from worldeval.world.diffusers_import import need_diffusers
from worldeval.world.fidelity.held_out import imagine_held, open_shelf
from worldeval.world.load import new_world
from worldeval.world.recipe import ActuationRecipe, TokenizerRecipe
from worldeval.world.size import DROID, TURNED
from worldeval.world.tokenizer.build import new_tokenizer
from worldeval.world.training.pipeline import train_world
from worldeval.world.training.prepare import prepare
from worldeval.world.world import World

NEW = "Move the green towel to the right of the lid"


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    """A world of latents that came with the data, and the decoder that made them."""
    recipe = toy_recipe(steps=2)
    tokenizer = replace(recipe.tokenizer, channels=2)
    recipe = replace(recipe, actuation=replace(recipe.actuation, scale=0.0))

    def quiet(stage: str, steps: int):
        return lambda step, loss: None

    home = tmp_path_factory.mktemp("any-task")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Weighted, "open", lambda part: Told(part.path))
        prepared = prepare(recipe, Path("arm"), [], home, seed=0, report=quiet)
    trained = train_world(recipe, prepared, home, kind="latent", seed=0, report=quiet)
    trained.tokenizer = new_tokenizer(tokenizer, tasks=1, views=1, size=(16, 16)).eval()
    return trained


def test_its_one_task_is_every_task(world: World) -> None:
    assert world.spec.tasks == ("any",) and world.spec.instructions == ()
    assert world.spec.knows(NEW) and world.spec.knows("")
    assert world.task_index([NEW, "", "any"]).tolist() == [0, 0, 0]


def test_a_policy_acts_in_it_with_the_words_of_its_own(world: World) -> None:
    frames = {"top": Told(Path("arm")).frames(0, "top")[:2]}
    state = world.begin(frames, np.zeros((2, 4), np.float32), [NEW, WORDS[0]], [0, 1])
    state = world.step(state, np.zeros((2, 4), np.float32))
    state = world.observe(state, frames, np.zeros((2, 4), np.float32), [NEW, WORDS[0]])
    assert world.render(world.latents(state), [NEW, WORDS[0]])["top"].shape == (2, 16, 16, 3)


def test_its_fidelity_is_measured_on_the_words_of_the_data(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Weighted, "open", lambda part: Told(part.path))
    shelf = open_shelf(world, Path("arm"), share=0.34, seed=0)
    held = shelf.read(shelf.held, 4)
    assert held.frames is not None and held.tasks == tuple(WORDS[i % 3] for i in shelf.held)
    assert imagine_held(world, held, steps=3).latents.shape == held.latents.shape
    decoder, world.tokenizer = world.tokenizer, None
    undrawn = open_shelf(world, Path("arm"), share=0.34, seed=0).read(shelf.held, 4)
    world.tokenizer = decoder
    assert undrawn.frames is None and undrawn.tasks == held.tasks


def test_its_starts_may_be_of_any_task(world: World) -> None:
    starts = [
        Start(
            id=str(i),
            task=task,
            seed=i,
            frames={"top": np.zeros((16, 16, 3), np.uint8)},
            pose=np.zeros(4, np.float32),
        )
        for i, task in enumerate([NEW, WORDS[0], NEW])
    ]
    place = ServedEpisodes(Setting(world=world, starts=starts, horizon=3)).place
    assert place.tasks == (NEW, WORDS[0])
    assert place.start_tasks.tolist() == [0, 1, 0]


def test_droid_is_measured_by_a_decoder(tmp_path: Path) -> None:
    """Real episodes with their own instructions, encoded by an autoencoder of SVD's grid."""
    data = droid_folder()
    torch.manual_seed(0)
    blocks = {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (32,) * 4,
    }
    vae = need_diffusers("this test").AutoencoderKL(**blocks, latent_channels=4, layers_per_block=1)
    vae.save_pretrained(tmp_path / "vae")
    tokenizer = TokenizerRecipe(folder=str(tmp_path / "vae"))
    recipe = replace(toy_recipe(), actuation=ActuationRecipe(), tokenizer=tokenizer)
    world = new_world("latent", replace(DROID, action_dim=TURNED, pose_dim=TURNED), recipe)
    shelf = open_shelf(world, data, share=0.2, seed=0)
    held = shelf.read(shelf.held, 2)
    assert held.frames is not None and NEW in held.tasks
    made = imagine_held(world, held, steps=1)
    assert made.latents.shape == (2, 2, 3, 4, 24, 40)
