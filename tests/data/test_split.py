"""Hold-out: a share of all episodes, of each task only where tasks are large, or the data's own."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.sound_datasets import make
from tests.support.told import Told
from worldeval.data.convert import convert
from worldeval.data.finding import DataError
from worldeval.data.source import Head, Source, open_source
from worldeval.data.split import drawn, held_out, refuse_empty
from worldeval.errors import UserError


def heads(*tasks: str, split: str = "train") -> list[Head]:
    return [
        Head(id=str(i), length=2, task=task, success=None, split=split)
        for i, task in enumerate(tasks)
    ]


def of(*given: Head) -> Source:
    source = Told(Path("set"))
    source.heads = list(given)
    return source


def test_large_tasks_give_their_share_each() -> None:
    tasks = np.repeat(["open", "close", "push"], [100, 50, 25])
    held = drawn(heads(*tasks), share=0.08, seed=0)
    assert {task: int(held[tasks == task].sum()) for task in set(tasks)} == {
        "open": 8,
        "close": 4,
        "push": 2,
    }


def test_the_draw_of_large_tasks_is_the_one_that_shipped_models_were_trained_with() -> None:
    tasks = np.repeat(["b", "a"], [200, 300])
    rng = np.random.default_rng(3)
    before = [
        rng.choice(np.flatnonzero(tasks == task), round(0.08 * count), replace=False)
        for task, count in (("a", 300), ("b", 200))
    ]
    held = drawn(heads(*tasks), share=0.08, seed=3)
    assert np.flatnonzero(held).tolist() == sorted(np.concatenate(before).tolist())


@pytest.mark.parametrize(
    ("tasks", "share", "expected"),
    [
        (5, 0.08, 1),  # another text for every episode: one of five, not five of five
        (11, 0.08, 1),
        (200, 0.1, 20),
        (2, 0.01, 1),
        (1, 0.5, 0),  # there is no other one to train on
        (30, 0.0, 0),
    ],
)
def test_free_words_are_one_group(tasks: int, share: float, expected: int) -> None:
    own = heads(*(f"text {i}" for i in range(tasks)))
    assert drawn(own, share=share, seed=0).sum() == expected


def test_small_tasks_are_put_together_beside_large_ones() -> None:
    tasks = np.array(["large"] * 40 + [f"rare {i}" for i in range(20)])
    held = drawn(heads(*tasks), share=0.1, seed=0)
    assert (held[:40].sum(), held[40:].sum()) == (4, 2)


def test_the_datasets_own_splits_are_kept() -> None:
    own = [*heads("a", "a", "a"), *heads("a", split="val"), *heads("a", split="test")]
    assert held_out(of(*own), share=0.5, seed=0).tolist() == [False] * 3 + [True] * 2


def lerobot(folder: Path, splits: object) -> Path:
    root = make("lerobot-v2", folder / "set")
    info = json.loads((root / "meta/info.json").read_text())
    (root / "meta/info.json").write_text(json.dumps({**info, "splits": splits}))
    return root


def test_lerobots_splits_are_spans_of_episodes(tmp_path: Path) -> None:
    source = open_source(lerobot(tmp_path, {"train": "0:2", "val": "2:3"}))
    assert [head.split for head in source.heads] == ["train", "train", "val"]
    assert held_out(source, share=0.5, seed=0).tolist() == [False, False, True]


@pytest.mark.parametrize("splits", [{"val": "x"}, {"val": 3}, ["0:2"]])
def test_splits_that_say_nothing_are_refused(tmp_path: Path, splits: object) -> None:
    with pytest.raises(DataError, match=r"info\.json: splits"):
        open_source(lerobot(tmp_path, splits))


def test_shards_keep_the_splits_of_the_data_that_they_were_made_of(tmp_path: Path) -> None:
    source = open_source(lerobot(tmp_path, {"train": "0:2", "test": "2:3"}))
    convert(source, tmp_path / "shards", to="shards")
    kept = open_source(tmp_path / "shards")
    assert [head.split for head in kept.heads] == ["train", "train", "test"]


@pytest.mark.parametrize("held", [[True] * 3, [False] * 3])
def test_an_empty_side_is_refused(held: list[bool]) -> None:
    with pytest.raises(UserError, match="at least one of each"):
        refuse_empty(np.array(held), of(*heads("a", "a", "a")))
