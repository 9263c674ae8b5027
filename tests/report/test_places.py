"""Datasets and world models are found inside of the folders opened, and nowhere else."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support.sound_datasets import make
from worldeval.errors import UserError
from worldeval.record import Start
from worldeval.report.places import dataset_format, find_datasets, find_worlds
from worldeval.report.thumbnail import film_thumbnail, start_thumbnails, thumbnail
from worldeval.report.verbs import run_verb
from worldeval.rollout.starts import write_starts


def test_datasets_are_found_at_every_depth(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    (root / "deep/er").mkdir(parents=True)
    make("mp4-npz", root / "deep/er/recorded")
    make("robomimic", root / "arm")
    make("mp4-npz", tmp_path / "elsewhere")
    (root / "link").symlink_to(tmp_path / "elsewhere")
    (root / "demo/imagined").mkdir(parents=True)
    shutil.copytree(root / "arm", root / "demo/imagined/own")  # what a run keeps for itself
    assert set(find_datasets([root])) == {"deep/er/recorded", "arm"}
    assert dataset_format(root / "arm") == "robomimic"
    assert dataset_format(root / "deep") is None
    both = find_datasets([root, tmp_path / "elsewhere"])
    assert both["elsewhere"] == tmp_path / "elsewhere"


def test_worlds_of_the_folder_come_before_those_shipped(tmp_path: Path) -> None:
    (tmp_path / "a/world").mkdir(parents=True)
    (tmp_path / "a/world/world.json").write_text("{}")
    names = list(find_worlds([tmp_path]))
    assert names[0] == "a/world"
    assert "shipped: latent" in names[1:]


def test_a_thumbnail_is_small_whatever_the_frame() -> None:
    uri = thumbnail(np.zeros((480, 640, 3), np.uint8))
    assert uri.startswith("data:image/webp;base64,")
    assert len(uri) < 4000


def test_starts_have_pictures_and_a_damaged_file_has_none(tmp_path: Path) -> None:
    frames = {"side": np.zeros((8, 8, 3), np.uint8)}
    start = Start(id="s", task="t", seed=0, frames=frames, pose=np.zeros(4, np.float32))
    path = tmp_path / "starts.h5"
    write_starts(path, [start])
    assert set(start_thumbnails(path, 1)) == {"s"}
    path.write_bytes(b"cut off")
    assert start_thumbnails(path, 2) == {}
    assert start_thumbnails(tmp_path / "none.h5", 0) == {}


def test_the_thumbnail_of_a_film_is_its_last_frame(kept_run: Path) -> None:
    from worldeval.runs.films import read_filmstrips, read_frames
    from worldeval.runs.paths import FILMS

    folder = kept_run / FILMS
    (strip, *_) = read_filmstrips(folder)
    last = read_frames(folder, strip.imagined)["side"][-1]
    assert film_thumbnail(folder, strip) == thumbnail(last)


def test_a_verb_answers_or_says_why_not() -> None:
    assert run_verb("recipes")[0]["name"]
    with pytest.raises(UserError, match="not a ranking run"):
        run_verb("film", "/nowhere", names=["--draw"])
