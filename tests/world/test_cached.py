"""Training on latents that `worldeval data encode` left: nothing is encoded or fitted again."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner, Result

from tests.support.told import WORDS, Told
from tests.support.toy import toy_recipe, toy_shards
from worldeval.cli import app
from worldeval.data.formats.shards.read import ShardsSource
from worldeval.data.latent_cache import LatentCache
from worldeval.data.weighted import Weighted
from worldeval.errors import UserError
from worldeval.world.load import TOKENIZER, load_world, new_world, save_world
from worldeval.world.protocol import WorldSpec
from worldeval.world.tokenizer import encode as encoded
from worldeval.world.training import prepare

RECIPE = toy_recipe(steps=2)
TASKS = tuple(sorted(WORDS))


def a_world(folder: Path, *, views: Sequence[str], tasks: Sequence[str], numbers: int) -> Path:
    """A world model with a tokenizer of random weights, as somebody else trained it."""
    torch.manual_seed(7)
    spec = WorldSpec(
        views=tuple(views),
        size=(16, 16),
        latent=(4, 4, 4),
        action_dim=numbers,
        pose_dim=4,
        tasks=tuple(tasks),
        fps=16.0,
    )
    save_world(folder, new_world("latent", spec, RECIPE), RECIPE, kind="latent", notes={})
    return folder


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def done(*words: object) -> dict:
    result = run(*words, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


def refused(*words: object) -> str:
    result = run(*words)
    assert isinstance(result.exception, UserError), (result.output, result.exception)
    return str(result.exception)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Shards, a world model, a recipe, and the shards' latents by the world's tokenizer."""
    home = tmp_path_factory.mktemp("cached")
    toy_shards(home / "data", episodes=4)
    toy_shards(home / "more", episodes=3, seed=1)
    a_world(home / "world", views=("side", "top"), tasks=("left", "right"), numbers=8)
    for recipe, name in (
        (RECIPE, "toy"),
        (replace(RECIPE, actuation=replace(RECIPE.actuation, scale=0.0)), "absolute"),
    ):
        content = {"kind": "latent", **json.loads(json.dumps(asdict(recipe)))}
        (home / f"{name}.yaml").write_text(yaml.safe_dump(content))
    for name in ("data", "more"):
        out = home / f"{name}-latents"
        done("data", "encode", home / name, "--world", home / "world", "--out", out)
    return home


@pytest.fixture
def no_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **options: object) -> None:
        raise AssertionError("latents are there")

    monkeypatch.setattr(encoded, "encode_frames", never)
    monkeypatch.setattr(prepare, "fit_tokenizer", never)


def flat(cache: Path) -> np.ndarray:
    found = LatentCache(cache)
    return np.concatenate([found.latents(index) for index in range(len(found))])


def same_tokenizer(one: Path, other: Path) -> bool:
    ours, theirs = (load_world(path).tokenizer for path in (one, other))
    assert ours is not None and theirs is not None
    kept = theirs.state_dict()
    return all(torch.equal(value, kept[key]) for key, value in ours.state_dict().items())


def test_a_world_model_trains_on_latents_of_shards(
    home: Path, tmp_path: Path, no_encoder: None
) -> None:
    given = ("--model", home / "toy.yaml", "--data", home / "data", "--out", tmp_path)
    made = done("train", *given, "--latents", home / "data-latents")
    assert made["held_out_episodes"] == 2
    (kept,) = (tmp_path / "latents").iterdir()
    assert np.array_equal(flat(kept), flat(home / "data-latents"))
    assert same_tokenizer(tmp_path, home / "world")


def test_datasets_of_a_mixture_bring_theirs_in_any_order(
    home: Path, tmp_path: Path, no_encoder: None
) -> None:
    caches = [home / "data-latents", home / "more-latents"]
    data = ("--data", home / "more", "--data", f"{home / 'data'}:0.5")
    latents = [word for cache in caches for word in ("--latents", cache)]
    done("train", "--model", home / "toy.yaml", *data, *latents, "--out", tmp_path)
    made = sorted(len(flat(kept)) for kept in (tmp_path / "latents").iterdir())
    assert made == sorted(len(flat(cache)) for cache in caches)


def test_latents_of_others_are_refused(home: Path, tmp_path: Path) -> None:
    train = ("train", "--model", home / "toy.yaml", "--data", home / "data")
    latents = ("--latents", home / "data-latents")
    said = refused(*train, "--latents", home / "more-latents", "--out", tmp_path / "a")
    assert "No given latents match the 8 episodes" in said and "(6 episodes)" in said
    said = refused(*train, *latents, "--latents", home / "more-latents", "--out", tmp_path / "b")
    assert "more-latents matches no --data dataset" in said
    other = ("--set", "tokenizer.channels=8", "--out", tmp_path / "c")
    assert "--set tokenizer.channels=4" in refused(*train, *latents, *other)
    others = ("--set", "tokenizer.folder=vae", "--out", tmp_path / "e")
    assert "folder None, but the recipe sets vae" in refused(*train, *latents, *others)
    save_world(
        tmp_path / "d",
        new_world("latent", load_world(home / "world").spec, RECIPE),
        RECIPE,
        kind="latent",
        notes={},
    )
    assert "is not the tokenizer that encoded" in refused(*train, *latents, "--out", tmp_path / "d")


def test_latents_without_a_tokenizer_do_not_do_for_shards(home: Path, tmp_path: Path) -> None:
    cache = Path(tmp_path / "old")
    cache.mkdir()
    for path in (home / "data-latents").iterdir():
        if path.name != TOKENIZER:
            (cache / path.name).write_bytes(path.read_bytes())
    words = ("train", "--model", home / "toy.yaml", "--data", home / "data", "--latents", cache)
    assert "without their tokenizer" in refused(*words, "--out", tmp_path / "out")


def test_shards_of_other_pictures_are_noticed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = ShardsSource.frames
    monkeypatch.setattr(ShardsSource, "frames", lambda *given: 255 - frames(*given))
    words = ("train", "--model", home / "toy.yaml", "--data", home / "data")
    said = refused(*words, "--latents", home / "data-latents", "--out", tmp_path)
    assert "does not contain the latents of the frames" in said
    assert not (tmp_path / "latents").exists()


def test_a_training_goes_on_with_its_latents(home: Path, tmp_path: Path) -> None:
    words = ("train", "--model", home / "toy.yaml", "--data", home / "data", "--out", tmp_path)
    first = done(*words, "--latents", home / "data-latents")
    assert done(*words, "--latents", home / "data-latents") == first


class Others(Told):
    """Episodes of the same names and lengths, of which other pictures were taken."""

    def frames(self, index: int, view: str, rows=None):
        return 255 - super().frames(index, view, rows)


@pytest.fixture
def arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The latents of a robot's recordings, that training could not read by itself."""
    monkeypatch.setattr("worldeval.api.data.open_source", lambda path, kind=None, **_: Told(path))
    monkeypatch.setattr(Weighted, "open", lambda part: Told(part.path))
    monkeypatch.chdir(tmp_path)
    Path("arm").mkdir()
    a_world(tmp_path / "world", views=("top",), tasks=TASKS, numbers=4)
    done("data", "encode", "arm", "--world", tmp_path / "world", "--out", tmp_path / "latents")
    return tmp_path


def test_any_dataset_that_was_encoded_can_be_trained_on(home: Path, arm: Path) -> None:
    words = ("train", "--model", home / "absolute.yaml", "--data", "arm")
    done(*words, "--latents", arm / "latents", "--out", arm / "out")
    world = load_world(arm / "out")
    assert world.spec.latent == (4, 4, 4)  # those of the cache; the data bring 2 x 4 x 4
    assert world.spec.tasks == TASKS and same_tokenizer(arm / "out", arm / "world")
    frames = {"top": Told(Path("arm")).frames(0, "top")[:2]}
    assert world.render(world.encode(frames, WORDS[:2]).numpy(), WORDS[:2])["top"].shape[0] == 2


def test_latents_of_other_pictures_are_noticed(
    home: Path, arm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Weighted, "open", lambda part: Others(part.path))
    words = ("train", "--model", home / "absolute.yaml", "--data", "arm")
    said = refused(*words, "--latents", arm / "latents", "--out", arm / "out")
    assert "does not contain the latents of the frames in arm" in said
