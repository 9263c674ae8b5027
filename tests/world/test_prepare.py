"""What worlds train on: mixtures, normalised by one rule, and no angle that jumps."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch

from tests.support.droid import droid_folder
from tests.support.toy import toy_recipe, toy_shards
from worldeval import recipe as recipes
from worldeval.data.formats.shards.layout import ACTION_NAMES, POSE_NAMES
from worldeval.data.source import Head, Rows, Source, SourceSpec, open_source
from worldeval.data.split import held_out
from worldeval.data.weighted import Weighted
from worldeval.errors import UserError
from worldeval.files import read_json
from worldeval.world.ctrl_world.recipe import CtrlWorldRecipe
from worldeval.world.features import Features
from worldeval.world.recipe import ActuationRecipe
from worldeval.world.sources import as_trained
from worldeval.world.training.pipeline import train_world
from worldeval.world.training.prepare import Prepared, prepare
from worldeval.world.uwm.fit import action_free
from worldeval.world.uwm.recipe import UwmRecipe

ARM = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
LENGTH = 20
DROID = ("latent-droid", "dit-droid", "uwm-droid", "rssm-droid", "ctrl-world-tiny-droid")


class OverPi(Source):
    """An arm whose roll passes pi, commanded absolutely; its latents come with it."""

    def __init__(self, path: Path, *, fps: float = 5.0) -> None:
        self.spec = SourceSpec(
            format="memory",
            path=path,
            fps=fps,
            views={"top": (8, 8)},
            action_names=ARM,
            pose_names=ARM,
            space="ee-absolute(euler)+1",
        )
        self.findings = []
        self.heads = [Head(id=str(i), length=LENGTH, task="t", success=True) for i in range(10)]

    def rows(self, index: int) -> Rows:
        pose = np.zeros((LENGTH, 7), np.float32)
        pose[:, 0] = index + 100 * len(self.spec.path.name)  # other datasets, other episodes
        pose[:, 3] = np.angle(np.exp(1j * np.linspace(3.0, 3.3, LENGTH)))
        return Rows(actions=pose, pose=pose)

    def frames(self, index: int, view: str, rows=None):
        raise AssertionError("nobody needs the pictures")

    def has_latents(self, index: int) -> bool:
        return True

    def latents(self, index: int) -> dict[str, np.ndarray]:
        return {"top": np.full((LENGTH, 2, 3, 3), index, np.float32)}


@pytest.fixture
def over_pi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Weighted, "open", lambda part: OverPi(part.path))


def quiet(stage: str, steps: int):
    return lambda step, loss: None


def for_an_arm():
    """The toy recipe without the actuation of the toy's hand: the data say what actions mean."""
    return replace(toy_recipe(), actuation=ActuationRecipe())


def prepared(recipe, *data: Weighted, home: Path | None = None, weak=(), say=print) -> Prepared:
    with TemporaryDirectory() as unused:
        return prepare(recipe, data, weak, home or Path(unused), seed=0, report=quiet, say=say)


def steps(values: np.ndarray, found: Prepared) -> float:
    """The largest change of a rotation's number from a frame to the next of its episode."""
    rows = found.episodes.transitions(np.arange(len(found.episodes)), 1)
    return float(np.abs(values[rows + 1, 3:9] - values[rows, 3:9]).max())


@pytest.mark.parametrize("name", DROID)
def test_no_family_sees_a_roll_jump(over_pi: None, name: str) -> None:
    found = prepared(recipes.load(name, "model").config, Weighted(path=Path("arm")))
    assert found.spec.space == "ee-absolute(6d)+1"
    assert (found.spec.action_dim, found.spec.pose_dim) == (10, 10)
    assert max(steps(found.episodes.pose, found), steps(found.episodes.actions, found)) < 0.1


@pytest.mark.parametrize("name", DROID)
def test_no_family_sees_one_in_real_recordings(name: str) -> None:
    raw = open_source(droid_folder())
    assert max(float(np.abs(np.diff(raw.rows(i).pose[:, 3])).max()) for i in range(9)) > 6
    found = prepared(recipes.load(name, "model").config, Weighted(path=droid_folder()))
    assert max(steps(found.episodes.pose, found), steps(found.episodes.actions, found)) < 1


def test_weights_of_others_get_the_angles_they_know(over_pi: None) -> None:
    recipe = CtrlWorldRecipe(pose_stats="stat.json")
    assert prepared(recipe, Weighted(path=Path("arm"))).spec.pose_dim == 7


def test_a_world_of_angles_is_read_with_angles(over_pi: None) -> None:
    recipe = for_an_arm()
    spec = prepared(recipe, Weighted(path=Path("arm"))).spec
    source = OverPi(Path("arm"))
    assert len(as_trained(source, spec).spec.pose_names) == 10
    older = replace(spec, pose_dim=7)
    assert as_trained(source, older) is source


def test_datasets_with_latents_are_mixed(over_pi: None) -> None:
    parts = [Weighted(path=Path("a"), weight=3), Weighted(path=Path("bb"))]
    found, alone = prepared(for_an_arm(), *parts), prepared(for_an_arm(), parts[0])
    assert len(found.episodes) == 2 * len(alone.episodes)
    assert found.held.tolist() == [*alone.held, *(alone.held + len(alone.episodes))]
    rows = found.episodes.draws(found.training(weak=False, without_fold=None, folds=2), 4)
    drawn = found.episodes.episode_of_row[rows(4000, torch.Generator().manual_seed(0)).numpy()]
    assert (drawn < len(alone.episodes)).mean() == pytest.approx(0.75, abs=0.03)
    assert alone.episodes.blend is None


def test_datasets_that_differ_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(path: Path) -> OverPi:
        return OverPi(path, fps=15.0 if path.name == "b" else 5.0)

    monkeypatch.setattr(Weighted, "open", lambda part: opened(part.path))
    with pytest.raises(UserError, match=r"b has frames per second: 15\.0, but a has 5\.0"):
        prepared(toy_recipe(), Weighted(path=Path("a")), Weighted(path=Path("b")))


def test_shards_are_mixed_and_trained_on(tmp_path: Path) -> None:
    recipe = toy_recipe(steps=4)
    a = toy_shards(tmp_path / "a", episodes=8)
    b = toy_shards(tmp_path / "b", episodes=4, seed=1)
    weak = toy_shards(tmp_path / "weak", episodes=2, seed=2, source="weak/step-1")
    parts = [Weighted(path=a), Weighted(path=b, weight=0.5)]
    found = prepared(recipe, *parts, home=tmp_path / "world", weak=[weak])
    assert found.episodes.blend is not None
    assert found.episodes.blend.part.tolist() == [0] * 16 + [1] * 8 + [-1] * 4
    alone = [
        np.flatnonzero(held_out(open_source(folder), share=recipe.held_out, seed=0))
        for folder in (a, b)
    ]
    assert found.held.tolist() == [*alone[0], *(alone[1] + 16)]
    base = replace(found, weak=np.zeros(0, np.int64))
    train_world(recipe, base, tmp_path / "world", kind="latent", seed=0, report=quiet)
    assert read_json(tmp_path / "world/world.json")["weights"] == [1.0, 0.5]


def test_shards_with_an_angle_are_turned_like_any_other_data(tmp_path: Path) -> None:
    import h5py

    folder = toy_shards(tmp_path / "data", episodes=2)
    for path in folder.glob("*.h5"):
        with h5py.File(path, "r+") as file:
            pose = np.zeros((len(file["pose"]), 3), np.float32)  # type: ignore[arg-type]
            pose[::2, 0], pose[1::2, 0] = 3.1, -3.1
            del file["pose"]
            file["pose"] = pose
            file.attrs[POSE_NAMES] = ["roll", "pitch", "yaw"]
            file.attrs[ACTION_NAMES] = [f"a{i}" for i in range(8)]
    spec = prepared(toy_recipe(steps=1), Weighted(path=folder)).spec
    assert (spec.pose_dim, spec.action_dim) == (6, 8)


def test_statistics_are_those_that_worlds_were_always_trained_with() -> None:
    generator = torch.Generator().manual_seed(0)
    pose, step = (torch.randn(500, 4, generator=generator) for _ in range(2))
    action = torch.randn(500, 3, generator=generator) * torch.tensor([1.0, 5.0, 0.0])
    features = Features(pose_dim=4, action_dim=3, tasks=1)
    features.fit(pose, step, action)
    assert torch.equal(features.pose_mean, pose.mean(0))
    assert torch.equal(features.pose_std, pose.std(0).clamp_min(1e-3))
    assert torch.equal(features.step_std, step.std(0).clamp_min(1e-4))
    assert torch.equal(features.action_mean, action.mean(0))
    assert torch.equal(features.action_std, action.std(0).clamp_min(1e-3))


def test_data_marked_as_video_reach_a_family_that_learns_from_it_and_no_other(
    tmp_path: Path,
) -> None:
    a = toy_shards(tmp_path / "a", episodes=8)
    b = toy_shards(tmp_path / "b", episodes=4, seed=1)
    parts = [Weighted(path=a), Weighted(path=b, weight=0.5, video=True)]
    with pytest.raises(UserError, match=r"b is marked as video, but a latent world model needs"):
        prepared(toy_recipe(steps=1), *parts)
    toy = toy_recipe(steps=1)
    shared = {name: getattr(toy, name) for name in ("tokenizer", "trainer", "held_out", "folds")}
    found = prepared(UwmRecipe(action_free=0.25, **shared), *parts)
    assert found.episodes.video is not None
    assert found.episodes.video.tolist() == [False] * 16 + [True] * 8
    assert (found.held < 16).all()  # there is nothing to follow in video
    every = np.arange(24)
    free = action_free(every, 0.25, marked=found.episodes.video)
    assert free.tolist() == [3, 7, 11, 15, *range(16, 24)]  # a quarter of the others, and video
