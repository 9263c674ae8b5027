"""Fidelity with known answers: perfect worlds, deaf worlds, and films that are the same."""

from pathlib import Path

import numpy as np
import pytest
import torch

from worldeval.errors import UserError
from worldeval.world import fidelity_memory
from worldeval.world.fidelity_actions import changed, fit_probe, followed, other_actions
from worldeval.world.fidelity_held import Held, Imagined, by_turns, imagine_held, open_shelf
from worldeval.world.fidelity_mean import mean_of
from worldeval.world.fidelity_pictures import compare, frechet, measures, psnr, ssim
from worldeval.world.fidelity_report import measure
from worldeval.world.recipe import TrainerRecipe
from worldeval.world.world import World


def test_psnr_and_ssim_of_known_frames() -> None:
    grey = np.full((2, 16, 16, 3), 100, np.uint8)
    lighter = grey.copy()
    lighter[1] += 10
    assert psnr(lighter, grey).tolist() == pytest.approx([80, 20 * np.log10(255 / 10)], abs=1e-3)
    assert ssim(grey, grey).tolist() == pytest.approx([1, 1])
    noise = np.random.default_rng(0).integers(0, 255, grey.shape, dtype=np.uint8)
    assert (ssim(noise, grey) < 0.1).all()


def test_a_mean_brings_students_interval() -> None:
    found = mean_of(np.array([1.0, 2.0, 3.0]))
    assert found is not None and found.low is not None
    assert (found.value, found.n) == (2.0, 3)
    assert found.value - found.low == pytest.approx(4.3027 / np.sqrt(3), abs=1e-4)
    one = mean_of(np.array([1.0]))
    assert one is not None and one.low is None
    assert mean_of(np.array([])) is None


def test_the_frechet_distance_of_gaussians_is_known() -> None:
    rng = np.random.default_rng(0)
    films = rng.standard_normal((4000, 3))
    assert frechet(films, films) == pytest.approx(0, abs=1e-6)
    assert frechet(films, films + 2) == pytest.approx(12, rel=1e-6)  # 3 x 2^2
    assert frechet(films, 3 * films) == pytest.approx(3 * (3 - 1) ** 2, rel=0.05)


def test_what_cannot_be_measured_says_what_to_do(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    taken, missing = measures()
    assert set(taken) == {"psnr", "ssim"}
    assert "AlexNet's weights are not here" in missing["lpips"]


def test_a_copying_world_is_as_good_as_the_copied_frame(world: World, held: Held) -> None:
    still = Imagined(latents=np.repeat(held.latents[:, :1], 6, 1), pose=held.pose[:, :6])
    found = compare(world, held, still, [5], {"psnr": psnr})["side"]["h5"]
    perfect = Imagined(latents=held.latents[:, :6], pose=held.pose[:, :6])
    best = compare(world, held, perfect, [5], {"psnr": psnr})["side"]["h5"]
    assert best["psnr"] == best["ceiling_psnr"]
    assert found["psnr"] is not None and best["psnr"] is not None
    assert found["psnr"].value < best["psnr"].value


def test_other_actions_are_what_they_say(held: Held) -> None:
    rng = np.random.default_rng(0)
    given = other_actions(held, absolute=False, step_dim=4, rng=rng)
    assert (given["zeroed"] == 0).all()
    np.testing.assert_array_equal(given["mirrored"][..., [0, 4]], -held.actions[..., [0, 4]])
    np.testing.assert_array_equal(given["mirrored"][..., 3], held.actions[..., 3])
    tasks = np.array(held.tasks)
    for row in range(len(held)):
        same = [i for i in range(len(held)) if (given["shuffled"][row] == held.actions[i]).all()]
        assert same != [row] and tasks[same[0]] == tasks[row]
    absolute = other_actions(held, absolute=True, step_dim=4, rng=rng)
    assert (absolute["zeroed"] == held.actions[:, :1]).all()
    np.testing.assert_allclose(
        absolute["mirrored"][:, 3, 1], 2 * held.actions[:, 0, 1] - held.actions[:, 3, 1], rtol=1e-5
    )


def test_a_world_that_follows_is_told_from_one_that_does_not(
    world: World, held: Held, shelf
) -> None:
    trainer = TrainerRecipe(steps=150, batch=32, learning_rate=3e-3, ema=0.9)
    probe = fit_probe(shelf.read(shelf.training, 9), seed=0, trainer=trainer)
    perfect = Imagined(latents=held.latents, pose=held.pose)
    told = followed(probe, held, perfect)
    assert told.imagined == told.recorded
    assert told.recorded.value < 0.8 * told.still.value
    still = Imagined(latents=np.repeat(held.latents[:, :1], 9, 1), pose=held.pose)
    assert followed(probe, held, still).imagined.value > told.recorded.value
    given = other_actions(held, absolute=False, step_dim=4, rng=np.random.default_rng(0))
    found = changed(world, held, given, horizons=[4])
    assert found["true"]["h4"].change is not None
    assert found["true"]["h4"].change.value == 0
    mirrored, true = found["mirrored"]["h4"].error, found["true"]["h4"].error
    assert mirrored is not None and true is not None and mirrored.value > true.value


def test_returns_are_journeys_there_and_back() -> None:
    frames = fidelity_memory.AWAY + 2
    there_and_back = np.sin(np.linspace(0, np.pi, frames))
    pose = np.zeros((3, frames, 4), np.float32)
    pose[0, :, 0] = there_and_back
    pose[1, :, 0] = np.linspace(0, 1, frames)  # never comes back
    back = fidelity_memory.returns(pose, length=np.array([frames, frames, frames]))
    assert back[0, -1] and not back[0, : fidelity_memory.AWAY].any()
    assert not back[1].any()
    assert not back[2].any()  # never left
    cut = fidelity_memory.returns(pose, length=np.array([frames - 2, frames, frames]))
    assert not cut[0].any()


def test_everything_about_a_toy_world(world: World, toy_folder: Path) -> None:
    found = measure(toy_folder / "world", toy_folder / "data", horizons=(1, 4), episodes=4)
    assert found["family"] == "latent" and found["episodes"] == 4
    assert set(found["pictures"]) == {"side", "top"}
    row = found["pictures"]["side"]["h4"]
    assert row["psnr"]["value"] > row["copied_psnr"]["value"]
    assert row["psnr"]["low"] < row["psnr"]["value"] < row["psnr"]["high"]
    assert found["fvd"] is None and "--fvd-backbone" in found["not_measured"]["fvd"]
    assert set(found["action_following"]["actions"]) == {"true", "zeroed", "shuffled", "mirrored"}
    assert (found["memory"] is None) == ("memory" in found["not_measured"])


def test_bad_horizons_and_data_are_refused(world: World, toy_folder: Path) -> None:
    with pytest.raises(UserError, match="frames from 1 on"):
        measure(toy_folder / "world", toy_folder / "data", horizons=(0,))
    with pytest.raises(UserError, match="does not exist"):
        measure(toy_folder / "world", toy_folder / "nowhere")


def test_episodes_are_taken_by_turns_of_task() -> None:
    tasks = ["a", "a", "a", "b", "b"]
    assert by_turns(np.arange(5), tasks, 3).tolist() == [0, 3, 1]
    assert by_turns(np.arange(5), tasks, 9).tolist() == [0, 3, 1, 4, 2]
    assert by_turns(np.arange(0), tasks, 3).tolist() == []


def test_replays_go_on_from_the_first_frame(world: World, held: Held) -> None:
    made = imagine_held(world, held, steps=3)
    np.testing.assert_allclose(made.latents[:, 0], held.latents[:, 0], atol=1e-6)
    np.testing.assert_array_equal(made.pose[:, 0], held.pose[:, 0])
    assert made.latents.shape == (*held.latents[:, :4].shape,)


@pytest.fixture(scope="module")
def shelf(world: World, toy_folder: Path):
    return open_shelf(world, toy_folder / "data", share=0.25, seed=0)


@pytest.fixture(scope="module")
def held(shelf) -> Held:
    return shelf.read(shelf.held, 9)


def test_toy_episodes_do_not_leak(toy_folder: Path, shelf) -> None:
    assert not set(shelf.held) & set(shelf.training)
    assert len(shelf.held) == 8
