"""Any dataset trains any family: frames or precomputed latents, the latent cache, windows."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.told import Told
from tests.support.toy import picture, toy_recipe
from worldeval.data.convert import convert
from worldeval.data.formats.lerobot.layout import Layout
from worldeval.data.formats.lerobot.write import LeRobotWriter
from worldeval.data.formats.shards.layout import ShardEpisode, write_shard
from worldeval.data.formats.shards.read import ShardsSource
from worldeval.data.latent_cache import LatentCache, build_cache
from worldeval.data.source import Source, open_source
from worldeval.data.weighted import Weighted
from worldeval.errors import UserError
from worldeval.record import Episode
from worldeval.world.dit.recipe import DitRecipe
from worldeval.world.load import read_card
from worldeval.world.recipe import ActuationRecipe, WorldRecipe
from worldeval.world.tokenizer.encode import LATENTS
from worldeval.world.tokenizer.network import Tokenizer
from worldeval.world.training.pipeline import train_world
from worldeval.world.training.prepare import FRAMES, Prepared, prepare

STEPS, LENGTH = 21, 7
VIEWS = ("side", "top")


def episode(index: int, *, task: str = "", success: bool | None = True) -> Episode:
    walk = np.random.default_rng(index).normal(0, 0.2, (LENGTH + 1, 4)).cumsum(0)
    pose = np.clip(walk, -1, 1).astype(np.float32)
    frames = [np.stack([picture(p[order]) for p in pose[:-1]]) for order in ([0, 1], [1, 0])]
    return Episode(
        id=f"e{index}",
        frames=dict(zip(VIEWS, frames, strict=True)),
        actions=pose[1:],
        pose=pose[:-1],
        task=task or f"move the square the {index}th way",
        success=success,
        fps=5.0,
    )


def shards(folder: Path, *episodes: Episode) -> Path:
    flags = np.zeros(LENGTH, np.uint8)
    items = [ShardEpisode(episode=each, flags=flags, seed=0) for each in episodes]
    write_shard(folder / "a.h5", items)
    return folder


class WithLatents(ShardsSource):
    """The same episodes, with the latents that an encoder made of them."""

    def __init__(self, path: Path, cache: LatentCache) -> None:
        super().__init__(path)
        self.cache = cache

    def has_latents(self, index: int) -> bool:
        return True

    def latents(self, index: int) -> dict[str, np.ndarray]:
        found = self.cache.latents(index)
        return {view: found[:, place] for place, view in enumerate(VIEWS)}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Ten episodes, each with words of its own, in three formats."""
    home = tmp_path_factory.mktemp("any")
    shards(home / "shards", *(episode(i) for i in range(10)))
    source = open_source(home / "shards")
    convert(source, home / "lerobot", to="lerobot")
    convert(source, home / "set.hdf5", to="robomimic")
    return home


def family(kind: str) -> WorldRecipe:
    toy = toy_recipe(steps=STEPS)
    shared = {"tokenizer": toy.tokenizer, "trainer": replace(toy.trainer, batch=8)}
    shared |= {"kinematics": toy.kinematics, "actuation": ActuationRecipe(), "held_out": 0.2}
    if kind == "latent":
        return replace(toy, **shared)
    return DitRecipe(width=16, depth=1, heads=2, window=2, steps=1, length=3, **shared)


class Watch:
    """Reports that keep every loss of a stage."""

    def __init__(self) -> None:
        self.losses: dict[str, list[float]] = {}

    def __call__(self, stage: str, steps: int) -> Callable[[int, float], None]:
        return lambda step, loss: self.losses.setdefault(stage, []).append(loss)


def prepared(recipe: WorldRecipe, data: Path, home: Path, **options) -> Prepared:
    options = {"weak": [], "report": Watch(), **options}
    return prepare(recipe, data, options.pop("weak"), home, seed=0, **options)


def trained(kind: str, data: Path, home: Path, **options) -> tuple[dict, dict]:
    watch, recipe = Watch(), family(kind)
    found = prepared(recipe, data, home, report=watch, **options)
    train_world(recipe, found, home, kind=kind, seed=0, report=watch)
    losses = {stage: each for stage, each in watch.losses.items() if stage.startswith("base")}
    return losses, read_card(home)["fidelity"]


@pytest.mark.parametrize("kind", ["latent", "dit"])
def test_the_same_episodes_train_the_same_model_in_every_format(
    kind: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = trained(kind, home / "shards", tmp_path / "by-shards")
    assert expected[0] and all(np.isfinite(each).all() for each in expected[0].values())
    assert trained(kind, home / "set.hdf5", tmp_path / "by-robomimic") == expected
    (cache,) = (tmp_path / "by-shards" / LATENTS).iterdir()

    def opened(path: Path) -> Source:
        return WithLatents(path, LatentCache(cache))

    with monkeypatch.context() as patch:
        patch.setattr(Weighted, "open", lambda part: opened(part.path))
        assert trained(kind, home / "shards", tmp_path / "by-latents") == expected
    # LeRobot's video loses a little of every frame, so its latents are given.
    given = ["--latents", cache]
    assert trained(kind, home / "lerobot", tmp_path / "by-lerobot", latents=given[1:]) == expected


@pytest.mark.parametrize("data", ["shards", "lerobot", "set.hdf5"])
def test_a_second_run_decodes_and_encodes_nothing(
    data: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepared(family("latent"), home / data, tmp_path)
    assert not (tmp_path / FRAMES).exists()

    def never(*args: object, **options: object) -> None:
        raise AssertionError("this was done before")

    monkeypatch.setattr(Tokenizer, "encode", never)
    monkeypatch.setattr(Tokenizer, "raw", never)
    watch = Watch()
    again = prepared(family("latent"), home / data, tmp_path, report=watch)
    assert not watch.losses
    assert np.array_equal(np.asarray(first.episodes.latents), np.asarray(again.episodes.latents))
    assert again.tokenizer_psnr == first.tokenizer_psnr


def test_other_frames_are_other_data(home: Path, tmp_path: Path) -> None:
    """The folder's name, the episodes' names and their lengths are the same; the pictures not."""
    recipe = family("latent")
    data = shards(tmp_path / "data", *(episode(i) for i in range(4)))
    first = np.asarray(prepared(recipe, data, tmp_path / "out").episodes.latents)
    other = [replace(episode(i + 20), id=f"e{i}", task=episode(i).task) for i in range(4)]
    shards(data, *other)
    again = np.asarray(prepared(recipe, data, tmp_path / "out").episodes.latents)
    assert first.shape == again.shape and not np.allclose(first, again, atol=0.1)
    assert len(list((tmp_path / "out" / LATENTS).iterdir())) == 2


def test_frames_of_all_are_encoded_where_some_have_no_latents(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = shards(tmp_path / "other", *(episode(i) for i in range(10, 14)))
    first = open_source(home / "shards")
    build_cache(
        first,
        tmp_path / "cache",
        lambda source, index: np.zeros((LENGTH, 2, 4, 4, 4), np.float16),
        encoder="somebody's",
        views=VIEWS,
    )

    def opened(path: Path) -> Source:
        if path == other:
            return open_source(path)
        return WithLatents(path, LatentCache(tmp_path / "cache"))

    monkeypatch.setattr(Weighted, "open", lambda part: opened(part.path))
    said: list[str] = []
    parts = [Weighted(path=home / "shards"), Weighted(path=other)]
    found = prepare(
        family("latent"), parts, [], tmp_path / "out", seed=0, report=Watch(), say=said.append
    )
    assert "precomputed latents are not used" in said[0] and "training 8, held out 2" in said[1]
    assert np.asarray(found.episodes.latents).any()


class Arm(Told):
    """An arm with latents; where its name is `blind` with none."""

    def has_latents(self, index: int) -> bool:
        return self.spec.path.name != "blind"

    def rows(self, index: int):
        return super().rows(index + 50 * len(self.spec.path.name))


def test_roll_outs_join_data_with_latents_or_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Weighted, "open", lambda part: Arm(part.path))
    recipe = replace(family("latent"), held_out=0.34)
    found = prepared(recipe, Path("arm"), tmp_path, weak=[Path("rolled")])
    assert found.weak.tolist() == list(range(9, 18))
    assert len(found.episodes) == 18 and found.tokenizer is None
    with pytest.raises(UserError, match="--weak blind has no precomputed latents"):
        prepared(recipe, Path("arm"), tmp_path, weak=[Path("blind")])


def test_views_of_two_sizes_take_a_size(tmp_path: Path) -> None:
    layout = Layout(
        fps=5.0,
        views={"side": (32, 48), "top": (16, 16)},
        action_names=("x", "y", "z", "grip"),
        pose_names=("x", "y", "z", "grip"),
    )
    with LeRobotWriter(tmp_path / "set", layout) as writer:
        for index in range(4):
            one = episode(index)
            large = one.frames["side"].repeat(2, axis=1).repeat(3, axis=2)
            writer.add(replace(one, frames={**one.frames, "side": large}))
    recipe = family("latent")
    with pytest.raises(UserError, match=r"side 32x48, top 16x16.*--set size"):
        prepared(recipe, tmp_path / "set", tmp_path / "out")
    found = prepared(replace(recipe, size=(16, 16)), tmp_path / "set", tmp_path / "out")
    assert found.spec.size == (16, 16) and found.spec.latent == (4, 4, 4)


def test_every_text_another_holds_out_a_share_of_all(home: Path, tmp_path: Path) -> None:
    found = prepared(family("latent"), home / "shards", tmp_path)
    assert len(found.held) == 2 and found.spec.tasks == ("any",)
    assert found.episodes.instructions is not None and len(set(found.episodes.instructions)) == 10
