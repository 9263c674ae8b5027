"""Recorded episodes among imagined ones: how many, which, and that they stay recognisable."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from worldeval.data.formats.lerobot.layout import Layout
from worldeval.data.formats.lerobot.write import LeRobotWriter
from worldeval.data.source import open_source
from worldeval.errors import UserError
from worldeval.export.dataset import export_episodes
from worldeval.export.mix import recorded_count, recorded_episodes
from worldeval.record import Episode
from worldeval.world.protocol import WorldSpec

SPEC = WorldSpec(
    views=("side",),
    size=(32, 32),
    latent=(2, 1, 1),
    action_dim=2,
    pose_dim=3,
    tasks=("open",),
    fps=10.0,
)


def episode(name: str, success: bool | None) -> Episode:
    return Episode(
        id=name,
        frames={"side": np.full((4, 32, 32, 3), 90, np.uint8)},
        actions=np.zeros((4, 2), np.float32),
        pose=np.zeros((4, 3), np.float32),
        task="open",
        success=success,
        fps=10.0,
    )


@pytest.fixture
def recorded(tmp_path: Path):
    layout = Layout(
        fps=10.0, views={"side": (32, 32)}, action_names=("a", "b"), pose_names=("x", "y", "z")
    )
    with LeRobotWriter(tmp_path / "real", layout) as writer:
        for index in range(5):
            writer.add(episode(f"real-{index}", (True, None)[index % 2]))
    return open_source(tmp_path / "real")


def test_counts() -> None:
    assert recorded_count(10, 0.5, 20) == 10
    assert recorded_count(30, 0.25, 20) == 10
    assert recorded_count(10, 0, 0) == 0
    with pytest.raises(
        UserError, match=r"needs 10 recorded ones, but there are 5\. Lower --ratio to 0\.33"
    ):
        recorded_count(10, 0.5, 5)
    with pytest.raises(UserError, match="below 1"):
        recorded_count(10, 1.0, 5)


def test_the_seed_draws_and_none_comes_twice(recorded) -> None:
    def drawn(seed: int) -> list[str]:
        rng = np.random.default_rng(seed)
        return [one.id for one, _ in recorded_episodes(recorded, SPEC, 3, rng)]

    assert drawn(0) == drawn(0)
    assert len(set(drawn(1))) == 3
    assert any(drawn(0) != drawn(seed) for seed in range(1, 5))


def test_both_kinds_in_one_dataset(recorded, tmp_path: Path) -> None:
    known = {
        "origin": "imagined",
        "world_model": "0f",
        "policy": "bc",
        "seed": 1,
        "start": "s",
        "judge": "learned",
        "probability": 0.8,
        "trust": 0.9,
    }
    rng = np.random.default_rng(0)
    parts = [(episode("dream", True), known), *recorded_episodes(recorded, SPEC, 5, rng)]
    done = export_episodes(parts, tmp_path / "mixed")
    assert (done.episodes, done.successes) == (6, 4)
    table = pd.read_parquet(tmp_path / "mixed/meta/episodes/chunk-000/file-000.parquet")
    assert list(table["worldeval/origin"]) == ["imagined"] + ["recorded"] * 5
    assert table["worldeval/probability"].isna().tolist() == [False] + [True] * 5
    back = open_source(tmp_path / "mixed")
    assert [head.success for head in back.heads] == [True, True, None, True, None, True]
    card = (tmp_path / "mixed/README.md").read_text()
    assert "according to the judge 0.800; 5 are recorded, not imagined" in card


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fps": 5.0}, r"frames per second are 10\.0, but the imagined episodes have 5\.0"),
        ({"size": (64, 64)}, "its views are"),
        ({"action_dim": 4}, "action dimensions are 2"),
        ({"views": ("front",)}, "Camera 'front' is not in"),
    ],
)
def test_data_that_do_not_fit(recorded, change: dict, message: str) -> None:
    spec = WorldSpec(**{**SPEC.__dict__, **change})
    with pytest.raises(UserError, match=message):
        next(recorded_episodes(recorded, spec, 1, np.random.default_rng(0)))
