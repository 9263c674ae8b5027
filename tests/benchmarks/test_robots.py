"""The road of benchmarks/robots.py, walked by a toy robot: two joints, unequal views."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import robots
from robots import Road, Robot
from typer.testing import CliRunner

pytest.importorskip("gymnasium")

from tests.support.reach_data import ELSEWHERE, FRAMES, JUDGE, TINY, driven, written
from worldeval.api import learn
from worldeval.cli import app
from worldeval.files import read_json
from worldeval.record import Episode

SMALL = {**TINY, "kinematics.unroll": 2}  # seven frames an episode
TOY = Robot(
    name="toy",
    why="two joints",
    address=ELSEWHERE,
    tasks=("reach",),
    every=2,
    horizon=FRAMES // 2,
    map={"task": "reach"},
    experts=("person",),
    poor=("novice",),
    learn=tuple(
        w for k, v in {**TINY, "kinematics.unroll": 2}.items() for w in ("--set", f"{k}={v}")
    ),
    size=(16, 16),
    steps=24,
    bias=(0.2, 0.2),
    episodes=12,
    starts=2,
)


def called(words: Sequence[str]) -> None:
    words = list(words)
    if "--minutes" in words:
        where = words.index("--minutes")
        del words[where : where + 2]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, (words, done.output, done.exception)


def few(robot: Robot) -> dict[str, Any]:
    """Of the policies to rank, those of poor drivers and the biased ones."""
    every = robots.policies_to_rank(robot)
    kept = [one for one in every["lineages"] if one["name"] in ("bc-poor", "bc-biased")]
    return {**every, "lineages": kept}


def recorded(folder: Path, count: int, source: str, first: int) -> Path:
    def one(seed: int) -> Episode:
        return driven(seed, good=source == "person" or bool(seed % 2), source=source)

    return written(folder, [one(first + n) for n in range(count)])


def test_the_road_leads_from_recordings_to_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = partial(learn.train_judge, settings=JUDGE)
    monkeypatch.setattr(learn, "train_judge", lambda *args, settings, **rest: small(*args, **rest))
    demos = recorded(tmp_path / "demos", 16, "person", 0)
    novices = recorded(tmp_path / "novices", 6, "novice", 50)
    road = Road(
        TOY, demos=demos, also=[novices], out=tmp_path / "out", call=called, sets=(few, few)
    )  # fmt: skip
    for stage in robots.STAGES:
        if stage != "develop":
            getattr(road, stage)()
    row = road.row("rank")
    assert row["commands"] == 5
    assert row["policies"] == 3 and len(row["rates"]) == 3
    robots.keep(row, tmp_path / "rows.json")
    robots.keep(row, tmp_path / "rows.json")
    assert len(read_json(tmp_path / "rows.json")["robots"]) == 1
    road.call = lambda words: pytest.fail(f"{words} ran again")
    road.learn()
