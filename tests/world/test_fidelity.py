"""Fidelity with known answers: perfect worlds, deaf worlds, and films that are the same."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import worldeval as we
from worldeval.data.columns import ColumnGroup, ColumnMeanings
from worldeval.data.data_map import read_map
from worldeval.data.formats.lerobot.layout import Layout
from worldeval.data.formats.lerobot.write import LeRobotWriter
from worldeval.data.weighted import read_weighted
from worldeval.errors import UserError
from worldeval.record import Episode
from worldeval.report.trace import RobotPlace, read_place
from worldeval.training.recipe import TrainerRecipe
from worldeval.world.body import Body, body_of
from worldeval.world.fidelity import memory as fidelity_memory
from worldeval.world.fidelity import pictures as fidelity_pictures
from worldeval.world.fidelity.actions import changed, fit_probe, followed, other_actions
from worldeval.world.fidelity.held_out import Held, OpenLoop, by_turns, imagine_held, open_shelf
from worldeval.world.fidelity.mean import mean_of
from worldeval.world.fidelity.pictures import compare, frechet, fvd, measures, psnr, ssim
from worldeval.world.fidelity.report import measure
from worldeval.world.fidelity.space import meaning_of
from worldeval.world.protocol import WorldSpec
from worldeval.world.recipe import ActuationRecipe
from worldeval.world.torchvision_ops import need_torchvision
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
    few = rng.standard_normal((5, 40))  # fewer films than features, as usual
    assert frechet(few, few) == pytest.approx(0, abs=1e-5)
    spread = np.trace(np.cov(few, rowvar=False))
    assert frechet(few, 3 * few - 2 * few.mean(0)) == pytest.approx(4 * spread, rel=1e-5)
    flat = np.ones((5, 40))  # films that are all alike
    assert frechet(flat, few) == pytest.approx(np.square(1 - few.mean(0)).sum() + spread, rel=1e-5)


def test_what_cannot_be_measured_says_what_to_do(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    taken, missing = measures()
    assert set(taken) == {"psnr", "ssim"}
    assert "AlexNet's weights are missing" in missing["lpips"]


def test_a_copying_world_is_as_good_as_the_copied_frame(world: World, held: Held) -> None:
    still = OpenLoop(latents=np.repeat(held.latents[:, :1], 6, 1), pose=held.pose[:, :6])
    found = compare(world, held, still, [5], {"psnr": psnr})["side"]["h5"]
    perfect = OpenLoop(latents=held.latents[:, :6], pose=held.pose[:, :6])
    best = compare(world, held, perfect, [5], {"psnr": psnr})["side"]["h5"]
    assert best["psnr"] == best["ceiling_psnr"]
    assert found["psnr"] is not None and best["psnr"] is not None
    assert found["psnr"].value < best["psnr"].value


def test_other_actions_are_what_they_say(held: Held) -> None:
    rng = np.random.default_rng(0)
    given = other_actions(held, taken(scale=0.01), rng=rng)
    assert (given["zeroed"] == 0).all()
    np.testing.assert_array_equal(given["mirrored"][..., [0, 4]], -held.actions[..., [0, 4]])
    np.testing.assert_array_equal(given["mirrored"][..., 3], held.actions[..., 3])
    tasks = np.array(held.tasks)
    for row in range(len(held)):
        same = [i for i in range(len(held)) if (given["shuffled"][row] == held.actions[i]).all()]
        assert same != [row] and tasks[same[0]] == tasks[row]
    absolute = other_actions(held, taken(scale=0.0), rng=rng)
    assert (absolute["zeroed"] == held.actions[:, :1]).all()
    np.testing.assert_allclose(
        absolute["mirrored"][:, 3, 1], 2 * held.actions[:, 0, 1] - held.actions[:, 3, 1], rtol=1e-5
    )


def test_a_world_that_follows_is_told_from_one_that_does_not(
    world: World, held: Held, shelf
) -> None:
    trainer = TrainerRecipe(steps=150, batch=32, learning_rate=3e-3, ema=0.9)
    seen = shelf.read(shelf.training, 9)
    probe = fit_probe(seen, place=world.spec.place, seed=0, trainer=trainer)
    perfect = OpenLoop(latents=held.latents, pose=held.pose)
    told = followed(probe, held, perfect, metres=True)
    assert told.imagined == told.recorded
    assert told.recorded.value < 0.8 * told.still.value
    still = OpenLoop(latents=np.repeat(held.latents[:, :1], 9, 1), pose=held.pose)
    assert followed(probe, held, still, metres=True).imagined.value > told.recorded.value
    given = other_actions(held, taken(scale=0.01), rng=np.random.default_rng(0))
    found = changed(world, held, given, horizons=[4])
    change = found["true"]["h4"]["change"]
    assert change is not None and change.value == 0
    mirrored, true = found["mirrored"]["h4"]["error"], found["true"]["h4"]["error"]
    assert mirrored is not None and true is not None and mirrored.value > true.value


def test_returns_are_journeys_there_and_back() -> None:
    frames = fidelity_memory.AWAY + 2
    there_and_back = np.sin(np.linspace(0, np.pi, frames))
    pose = np.zeros((3, frames, 3), np.float32)
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
    following = found["action_following"]
    assert following["unit"] == "mm" and "inverse_dynamics_mm" in following
    assert following["taken_as"]["absolute"] is False  # the toy's recipe has a scale
    assert (found["memory"] is None) == ("memory" in found["not_measured"])


@pytest.mark.parametrize(
    ("space", "scale", "absolute", "mirrored", "said_by"),
    [
        ("ee-absolute(6d)+1", 0.0, True, (0, 1, 2), "the dataset: ee-absolute(6d)+1"),
        ("ee-delta(euler)+1", 0.0, False, (0, 1, 2), "the dataset: ee-delta(euler)+1"),
        ("joint-velocity(7)+1", 0.0, False, (0, 1, 2), "the dataset:"),
        ("joint-position(7)+1", 0.01, True, (0, 1, 2), "the dataset:"),  # before the recipe
        ("", 0.01, False, (0, 1, 2, 4, 5, 6), "recipe"),
        ("", 0.0, True, (0, 1, 2), "assumed"),
    ],
)
def test_without_a_body_the_data_say_what_actions_mean_before_anybody_else(
    space: str, scale: float, absolute: bool, mirrored: tuple[int, ...], said_by: str
) -> None:
    """As worlds that were saved before `body` existed."""
    found = taken(space, scale=scale)
    assert (found.absolute, found.mirrored) == (absolute, mirrored)
    assert found.held == (tuple(range(8)) if absolute else ())
    assert said_by in found.said_by


def taken(space: str = "", *, scale: float = 0.0, body: Body | None = None, width: int = 8):
    """The meaning of actions in a world of this body."""
    spec = WorldSpec(
        views=("top",), size=(2, 2), latent=(1, 1, 1), action_dim=width, pose_dim=6, tasks=("t",),
        fps=8.0, body=body,
    )  # fmt: skip
    return meaning_of(spec, space, ActuationRecipe(scale=scale, step_dim=4))


def test_two_arms_rest_and_are_mirrored_by_the_meaning_of_their_columns(held: Held) -> None:
    """Joints of the left arm are targets, those of the right arm velocities; both have a gripper
    that is a target; two steps make a frame."""
    meaning = ColumnMeanings(
        action=(
            ColumnGroup(names=("l1", "l2"), means="joint", arm="left", unit="rad"),
            ColumnGroup(names=("lg",), means="gripper", arm="left"),
            ColumnGroup(
                names=("r1", "r2"), means="joint", arm="right", unit="rad/s", motion="velocity"
            ),
            ColumnGroup(names=("rg",), means="gripper", arm="right"),
        ),
        pose=(
            ColumnGroup(names=("l1", "l2"), means="joint", arm="left", unit="rad"),
            ColumnGroup(names=("lg",), means="gripper", arm="left"),
            ColumnGroup(names=("r1", "r2"), means="joint", arm="right", unit="rad"),
            ColumnGroup(names=("rg",), means="gripper", arm="right"),
        ),
    )
    body = body_of(meaning, ActuationRecipe(), action_dim=12, pose_dim=6)
    found = taken(body=body, width=12)
    assert found.absolute is None  # some are
    assert found.held == (0, 1, 2, 5, 6, 7, 8, 11)
    assert found.mirrored == (0, 1, 3, 4, 6, 7, 9, 10)
    actions = np.random.default_rng(0).normal(size=(len(held), 9, 12)).astype(np.float32)
    given = other_actions(replace(held, actions=actions), found, rng=np.random.default_rng(0))
    rest = given["zeroed"]
    assert (rest[:, :, [3, 4, 9, 10]] == 0).all()
    assert (rest[:, :, found.held] == actions[:, :1, found.held]).all()
    np.testing.assert_array_equal(given["mirrored"][..., 3], -actions[..., 3])
    np.testing.assert_array_equal(given["mirrored"][..., 2], actions[..., 2])
    np.testing.assert_allclose(
        given["mirrored"][..., 0], 2 * actions[:, :1, 0] - actions[..., 0], rtol=1e-5
    )


def test_actions_of_which_nothing_is_known_do_not_rest(held: Held) -> None:
    found = taken(body=Body(place=(0, 1), unit=""))
    assert found.held is None and "does not say" in found.said_by
    given = other_actions(held, found, rng=np.random.default_rng(0))
    assert list(given) == ["true", "shuffled"]
    joints = taken("joint-position(3)+1", body=Body(place=(0, 1, 2), unit="rad"))
    assert joints.mirrored == (0, 1, 2, 4, 5, 6) and joints.absolute


def test_the_probe_reads_the_columns_that_are_the_position(held: Held) -> None:
    """Joints of two arms, around a gripper that is no position, in radians."""
    pose = np.zeros((*held.pose.shape[:2], 5), np.float32)
    pose[..., [0, 1, 3, 4]] = np.cumsum(np.ones((len(held), 9, 4)), 1) * [1, -1, 2, 0]
    pose[..., 2] = 7 * np.arange(9) ** 2  # the gripper
    own = replace(held, pose=pose, length=np.full(len(held), 9))
    trainer = TrainerRecipe(steps=2, batch=4, learning_rate=1e-3)
    probe = fit_probe(own, place=(0, 1, 3, 4), seed=0, trainer=trainer)
    assert probe.mean.tolist() == pytest.approx([1, -1, 2, 0])
    same = OpenLoop(latents=own.latents, pose=own.pose)
    told = followed(probe, own, same, metres=False)
    assert told.still.value == pytest.approx(0, abs=1e-6)
    assert probe(own.latents).shape == (len(held), 8, 4)


class Averages(nn.Module):
    """A film's mean of every colour, with the keywords of the usual I3D export."""

    def forward(
        self, films: torch.Tensor, rescale: bool, resize: bool, return_features: bool
    ) -> torch.Tensor:
        assert rescale and resize and return_features
        return films.mean(dim=[2, 3, 4])


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # users bring such files
def test_fvd_is_the_distance_between_what_the_backbone_sees(
    world: World, held: Held, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fidelity_pictures, "SHORTEST_FILM", 6)
    path = tmp_path / "backbone.pt"
    torch.jit.save(torch.jit.script(Averages()), path)
    held = replace(held, length=np.array([*held.length[:-1], 5]))  # the last has no six frames
    films = {view: [] for view in world.spec.views}
    for latents, task in zip(held.latents, held.tasks, strict=True):
        for view, drawn in world.render(latents, [task] * len(latents)).items():
            films[view].append(drawn)
    perfect = OpenLoop(latents=held.latents[:, :6], pose=held.pose[:, :6])
    redrawn = replace(held, frames={view: np.stack(each) for view, each in films.items()})
    assert fvd(world, redrawn, perfect, path) == pytest.approx({"side": 0, "top": 0}, abs=1e-3)
    assert held.frames is not None
    assert redrawn.frames is not None
    recorded, imagined = (
        each["side"][:-1, :6].astype(float).mean((1, 2, 3))
        for each in (held.frames, redrawn.frames)
    )
    found = fvd(world, held, perfect, path)["side"]
    assert found == pytest.approx(frechet(recorded, imagined), rel=1e-3)
    assert found > 0.01
    monkeypatch.setattr(fidelity_pictures, "SHORTEST_FILM", 7)
    with pytest.raises(UserError, match="at least 7 frames"):
        fvd(world, held, perfect, path)


@pytest.fixture(scope="module")
def two_arms(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A world of two arms of two joints and a gripper each, commanded in joint positions, and its
    dataset. Episodes go one way and come back."""
    home = tmp_path_factory.mktemp("two-arms")
    arm = [
        f"    - {{names: [{side}1, {side}2], means: joint, arm: {side}, unit: rad}}\n"
        f"    - {{names: [{side}g], means: gripper, arm: {side}}}\n"
        for side in ("left", "right")
    ]
    columns = f"  columns:\n{''.join(arm)}"
    (home / "map.yaml").write_text(f"action:\n{columns}pose:\n{columns}")
    names = tuple(f"{side}{what}" for side in ("left", "right") for what in "12g")
    layout = Layout(fps=10.0, views={"top": (16, 16)}, action_names=names, pose_names=names)
    rng = np.random.default_rng(0)
    with LeRobotWriter(home / "data", layout) as writer:
        for number in range(12):
            way = np.sin(np.linspace(0, np.pi, 16))[:, None] * rng.normal(1, 0.2, 6)
            grey = (100 + 60 * way[:, :1, None, None]).clip(0, 255).astype(np.uint8)
            writer.add(
                Episode(
                    id=f"e{number}", frames={"top": np.broadcast_to(grey, (16, 16, 16, 3)).copy()},
                    actions=np.concatenate([way[1:], way[-1:]]).astype(np.float32),
                    pose=way.astype(np.float32), task="lift", success=True, fps=10.0,
                )
            )  # fmt: skip
    settings = {
        "trainer.steps": 4, "kinematics.trainer.steps": 4, "tokenizer.trainer.steps": 4,
        "width": 16, "depth": 1, "tokenizer.widths": [8, 8, 8], "tokenizer.channels": 4,
        "trainer.batch": 8, "kinematics.trainer.batch": 8, "size": [16, 16], "held_out": 0.3,
        "unroll": [[0.0, 1]], "actuation.scale": 0.0,
    }  # fmt: skip
    data = read_weighted(str(home / "data"), given=read_map(home / "map.yaml"))
    we.train_world(data, home / "world", settings=settings, jobs=1, progress=False)
    return home / "world", home


def test_fidelity_of_two_arms_in_radians(two_arms: tuple[Path, Path]) -> None:
    world, home = two_arms
    found = we.fidelity(world, home / "data", map=home / "map.yaml", horizons=(1, 5), episodes=3)
    assert list(found.actions.index.unique("actions")) == [
        "true", "zeroed", "shuffled", "mirrored",
    ]  # fmt: skip
    assert {"place_error", "change"} <= set(found.actions) and "hand_mm" not in found.actions
    following = found.record["action_following"]
    assert following["unit"] == "rad" and "inverse_dynamics_mm" not in following
    taken = following["taken_as"]
    assert taken["absolute"] and taken["mirrored"] == [0, 1, 3, 4]
    assert "columns" in taken["said_by"]
    assert found.record["memory"]["frames"] > 0  # they come back, measured by all four joints
    assert read_place(world) == RobotPlace(columns=(0, 1, 3, 4), unit="rad")


def test_lpips_of_a_frame_and_itself_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the measure's own head on a random AlexNet: its true weights are a download."""
    need_torchvision()
    lpips = pytest.importorskip("lpips")
    torch.manual_seed(0)
    monkeypatch.setattr(lpips, "LPIPS", partial(lpips.LPIPS, pnet_rand=True))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / fidelity_pictures.ALEXNET).touch()
    taken, missing = measures()
    assert not missing
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (2, 32, 32, 3), np.uint8)
    other = frames.copy()
    other[1] = rng.integers(0, 255, (32, 32, 3), np.uint8)
    same, changed = taken["lpips"](other, frames).tolist()
    assert same == pytest.approx(0, abs=1e-6) and changed > 0.01


def test_bad_horizons_and_data_are_refused(world: World, toy_folder: Path) -> None:
    with pytest.raises(UserError, match="at least 1 frame"):
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
