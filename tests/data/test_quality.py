"""Trajectory quality and state-action coverage of recordings whose answers are known."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.support.toy import toy_shards
from worldeval.cli import app
from worldeval.data.finding import DataFinding
from worldeval.data.quality import binned, normalised, report_quality, returns_of, suggestions
from worldeval.data.source import Head, Rows, Source, SourceSpec
from worldeval.data.table import RecordedEpisodes
from worldeval.errors import UserError


@dataclass(frozen=True)
class Drive:
    """An episode: who drove, when it succeeded (None: never, -1: unknown) and where it went."""

    source: str
    won: int | None
    pose: Any
    task: str = "left"
    actions: Any = None


@dataclass
class Drives(Source):
    """Episodes of numbers, in memory."""

    drives: list[Drive]
    findings: list[DataFinding] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.spec = SourceSpec(
            format="toy", path=Path("toy"), fps=10, views={"top": (8, 8)}, action_names=("a",),
            pose_names=("x",),
        )  # fmt: skip
        self.heads = [
            Head(
                id=str(i),
                length=len(each.pose),
                task=each.task,
                success=None if each.won == -1 else each.won is not None,
                source=each.source,
            )
            for i, each in enumerate(self.drives)
        ]

    def rows(self, index: int) -> Rows:
        each = self.drives[index]
        pose = np.array(each.pose, np.float32)[:, None]
        actions = pose if each.actions is None else np.array(each.actions, np.float32)[:, None]
        flags = np.zeros(len(pose), np.uint8)
        if each.won is not None and each.won >= 0:
            flags[each.won :] = 1
        return Rows(actions=actions, pose=pose, flags=flags)

    def frames(self, index: int, view: str, rows: Any = None) -> np.ndarray:
        return np.zeros((self.heads[index].length, 8, 8, 3), np.uint8)


def recorded(*drives: Drive) -> RecordedEpisodes:
    return RecordedEpisodes([Drives(list(drives))])


LINE = np.linspace(0, 1, 10)


def test_quality_lies_between_random_play_and_an_expert() -> None:
    data = recorded(
        Drive("expert", 2, LINE), Drive("expert", 4, LINE), Drive("play", 8, LINE),
        Drive("play", None, LINE), Drive("novice", 4, LINE), Drive("novice", None, LINE),
        Drive("novice", -1, LINE),
    )  # fmt: skip
    assert np.allclose(returns_of(data, 0.5)[:6], [0.25, 0.0625, 0.5**8, 0, 0.0625, 0])
    assert np.isnan(returns_of(data, 0.5)[6])
    found = report_quality(data, expert="expert", random="play", discount=0.5)
    high, low = (0.25 + 0.0625) / 2, 0.5**8 / 2
    mean = (0.25 + 0.0625 + 0.5**8 + 0.0625) / 6
    assert found.whole.quality == pytest.approx((mean - low) / (high - low))
    assert found.drivers["expert"] == pytest.approx(1)
    assert found.drivers["play"] == pytest.approx(0)
    assert found.drivers["novice"] == pytest.approx((0.03125 - low) / (high - low))
    assert found.whole.labelled == 6 and found.whole.success == pytest.approx(4 / 6)


def test_without_known_drivers_quality_is_the_share_of_successes() -> None:
    data = recorded(*(Drive("", won, LINE) for won in (1, 3, None, None, 9)))
    for discount in (1.0, 0.9):
        found = report_quality(data, discount=discount)
        assert found.whole.quality == pytest.approx(0.6)
    assert normalised(0.3, 0.3, 0.3) is None and normalised(None, 0.0, 1.0) is None


def test_tasks_count_alike_whatever_their_episodes() -> None:
    drives = [Drive("", 1, LINE, task="right")]
    drives += [Drive("", None if i else 1, LINE) for i in range(4)]
    found = report_quality(recorded(*drives))
    assert [each.quality for each in found.tasks] == [pytest.approx(0.25), pytest.approx(1.0)]
    assert found.whole.quality == pytest.approx(0.625) and found.whole.episodes == 5


def test_a_repeated_demonstration_covers_no_more() -> None:
    once = report_quality(recorded(Drive("", 1, LINE)))
    twice = report_quality(recorded(Drive("", 1, LINE), Drive("", 1, LINE)))
    assert once.whole.pairs == twice.whole.pairs
    assert twice.whole.coverage == pytest.approx(once.whole.coverage / 2)


def test_coverage_counts_pairs_against_those_of_the_reference() -> None:
    # Six places, each with every one of six actions: 36 pairs.
    place, action = np.repeat(np.arange(6.0), 6), np.tile(np.arange(6.0), 6)
    whole = recorded(Drive("play", None, place, actions=action))
    assert report_quality(whole, whole).whole.coverage == 1
    assert report_quality(whole, whole).whole.reference_pairs == 36
    some = place < 3
    part = recorded(Drive("expert", 1, place[some], actions=action[some]))
    assert report_quality(part, whole).whole.coverage == pytest.approx(0.5)
    line = recorded(Drive("expert", 1, np.arange(6.0), actions=np.arange(6.0)))
    assert report_quality(line, whole).whole.coverage == pytest.approx(1 / 6)
    assert report_quality(whole, line).whole.coverage == pytest.approx(6)


def test_bins_are_those_of_the_directions_that_vary_most() -> None:
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(500, 1))
    every = np.concatenate([wide, 3 * wide, 1e-3 * wide, np.full((500, 1), 7.0)], axis=1)
    (found,) = binned([every])
    assert found.shape == (500, 3) and found.min() >= 0 and found.max() <= 5
    assert len(np.unique(found[:, 0])) == 6
    order = np.argsort(wide[:, 0])
    assert np.all(np.diff(found[order, 0]) <= 0) or np.all(np.diff(found[order, 0]) >= 0)


def test_what_is_suggested_follows_from_both_numbers() -> None:
    good = [Drive("", 1, LINE)] * 12
    (said, rare) = report_quality(recorded(*good), recorded(Drive("", 1, LINE))).suggestions
    assert said.startswith("High quality and coverage") and rare.startswith("Hardly any episode")
    place, action = np.repeat(np.arange(6.0), 6), np.tile(np.arange(6.0), 6)
    everywhere = recorded(Drive("", None, place, actions=action))
    at = [Drive("", 1, [0.0, 5.0], actions=[0.0, 5.0])] * 11 + [Drive("", None, [0.0, 5.0])]
    first = report_quality(recorded(*at), everywhere).suggestions[0]
    assert first.startswith("High quality, low coverage: imitation")
    poor = [Drive("", None, [0.0, 5.0])] * 11 + [Drive("", 1, [0.0, 5.0])]
    assert report_quality(recorded(*poor), everywhere).suggestions[0].startswith("Low quality and")
    tried = [Drive("", None, place, actions=action)] * 11 + [Drive("", 1, LINE)]
    assert report_quality(recorded(*tried), everywhere).suggestions[0].startswith("Low quality, hi")
    unknown = report_quality(recorded(*[Drive("", -1, LINE)] * 12))
    assert unknown.whole.quality is None and "label them" in unknown.suggestions[0]
    assert suggestions(unknown.whole, relative=True) == unknown.suggestions


def test_what_does_not_fit_is_refused() -> None:
    data = recorded(Drive("expert", 1, LINE))
    with pytest.raises(UserError, match=r"--expert person fits no .* \(sources: expert\)"):
        report_quality(data, expert="person")
    with pytest.raises(UserError, match="--discount is 0; it must be above 0"):
        report_quality(data, discount=0)
    with pytest.raises(UserError, match="has no episode of 'left'"):
        report_quality(data, recorded(Drive("expert", 1, LINE, task="right")))


def test_the_verb_prints_and_writes(tmp_path: Path) -> None:
    data = toy_shards(tmp_path / "data", episodes=6)
    said = CliRunner().invoke(app, ["data", "report", str(data)])
    assert said.exit_code == 0, said.output
    assert "quality (TQ)" in said.output and "coverage is relative to" in said.output
    other = toy_shards(tmp_path / "other", episodes=6, seed=1, source="play")
    words = ["data", "report", str(data), "--reference", str(other), "--json"]
    said = CliRunner().invoke(app, [*words, "--random", "nobody"])
    assert isinstance(said.exception, UserError) and "fits no episode" in str(said.exception)
    assert '"reference"' in CliRunner().invoke(app, words).output
