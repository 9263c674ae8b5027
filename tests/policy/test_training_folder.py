"""Checkpoints of a training run: LeRobot's and ours, found by folder or glob, once finished."""

import json
from pathlib import Path

import pytest

from worldeval.errors import UserError
from worldeval.policy.lerobot_checkpoints import located
from worldeval.policy.load import expand, load_policy
from worldeval.policy.training_folder import Arrivals, checkpoints_in

GLOB = "outputs/*/checkpoints/*/pretrained_model"


def lerobot(folder: Path, step: int) -> Path:
    """A LeRobot checkpoint as `lerobot-train` lays it out, and its link `last`."""
    own = folder / "checkpoints" / f"{step:06}"
    (own / "pretrained_model").mkdir(parents=True)
    (own / "pretrained_model/config.json").write_text(json.dumps({"type": "act"}))
    (own / "training_state").mkdir()
    (own / "training_state/training_step.json").write_text(json.dumps({"step": step}))
    last = folder / "checkpoints/last"
    last.unlink(missing_ok=True)
    last.symlink_to(own.name)
    return own / "pretrained_model"


def ours(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "policy.json").write_text("{}")
    return folder


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten checkpoints of two runs."""
    monkeypatch.chdir(tmp_path)
    for run in ("act", "diffusion"):
        for step in range(2000, 12_000, 2000):
            lerobot(tmp_path / "outputs" / run, step)
    return tmp_path / "outputs"


@pytest.mark.parametrize("prefix", ["lerobot:", ""])
def test_one_glob_finds_a_users_ten_checkpoints(outputs: Path, prefix: str) -> None:
    """With and without the prefix; `last` is not listed again."""
    found = expand([prefix + GLOB])
    places = [located(each.removeprefix("lerobot:")) for each in found]
    assert [place.name for place in places] == [
        f"{run}/{step:06}" for run in ("act", "diffusion") for step in range(2000, 12_000, 2000)
    ]
    assert [(place.lineage, place.step) for place in places[4:6]] == [
        ("act", 10_000), ("diffusion", 2000),
    ]  # fmt: skip


def test_the_folder_of_the_runs_stands_for_them(outputs: Path) -> None:
    assert checkpoints_in("outputs") == expand([f"lerobot:{GLOB}"])
    assert checkpoints_in("outputs/act") == expand([f"lerobot:{GLOB}"])[:5]


def test_dated_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for day in ("2026-01-01", "2026-01-02"):
        lerobot(tmp_path / "train" / day / "act", 10)
    names = [each.partition("?name=")[2].split("&")[0] for each in checkpoints_in(str(tmp_path))]
    assert names == ["2026-01-01/act/000010", "2026-01-02/act/000010"]


def test_a_single_one_without_the_prefix_is_refused_with_its_address(outputs: Path) -> None:
    one = "outputs/act/checkpoints/002000/pretrained_model"
    with pytest.raises(UserError, match=f"its address is lerobot:{one}"):
        load_policy(one)
    assert expand([one]) == [f"lerobot:{one}"]


def test_our_own_checkpoints_are_listed_by_step(tmp_path: Path) -> None:
    for step in (10, 9, 100):
        ours(tmp_path / f"bc/step-{step}")
    assert [Path(each).name for each in checkpoints_in(str(tmp_path))] == [
        "step-9", "step-10", "step-100",
    ]  # fmt: skip
    assert len(checkpoints_in(f"{tmp_path}/bc/step-1*")) == 2


def test_an_empty_folder_has_none_yet_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    assert checkpoints_in(str(tmp_path)) == checkpoints_in(f"{tmp_path}/step-*") == []
    with pytest.raises(UserError, match="no training folder"):
        checkpoints_in(str(tmp_path / "gone"))
    with pytest.raises(UserError, match="not a training folder"):
        checkpoints_in("ws://localhost:8000")


def test_a_checkpoint_counts_once_its_files_no_longer_change(tmp_path: Path) -> None:
    arrivals = Arrivals(str(tmp_path))
    first = ours(tmp_path / "step-1")
    assert arrivals.look() == []
    assert arrivals.look() == [str(first)]
    second = ours(tmp_path / "step-2")
    assert arrivals.look() == [str(first)]
    (second / "policy.safetensors").write_bytes(b"more")
    assert arrivals.look() == [str(first)]
    assert arrivals.look() == [str(first), str(second)]
