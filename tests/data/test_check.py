"""The validator: each damage is found, named with its episode and field, and nothing else is."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from worldeval.data.check import check as everything
from worldeval.data.check.check import harmful
from worldeval.data.check.control import explained
from worldeval.data.check.duplicates import near_pairs
from worldeval.data.finding import DataError, DataFinding
from worldeval.data.source import Head, Rows, Source, SourceSpec, open_source

LENGTH = 60


def check(source: Source, **given) -> list[DataFinding]:
    """Every finding but that of alignment, which is there of every sound dataset."""
    found = everything.check(source, **given)
    return [finding for finding in found if finding.code != "action-alignment"]


class Memory(Source):
    """Episodes in memory, to be spoilt one way at a time."""

    def __init__(self, count: int = 6) -> None:
        self.spec = SourceSpec(
            format="memory",
            path=Path("memory"),
            fps=10.0,
            views={"top": (24, 24)},
            action_names=("x", "y", "roll"),
            pose_names=("x", "y", "roll"),
        )
        self.findings = []
        self.heads = [
            Head(id=str(i), length=LENGTH, task="push", success=i % 2 == 0) for i in range(count)
        ]
        self.parts = [self._episode(i) for i in range(count)]
        self.pictures = [self._frames(rows.pose) for rows in self.parts]

    def _episode(self, seed: int) -> Rows:
        """An arm that goes a third of the way to its commanded target in every frame."""
        rng = np.random.default_rng(seed)
        target = rng.uniform(-1, 1, (LENGTH // 10, 3)).repeat(10, axis=0)
        pose = np.zeros((LENGTH, 3))
        for t in range(1, LENGTH):
            pose[t] = pose[t - 1] + (target[t - 1] - pose[t - 1]) / 3
        times = np.arange(LENGTH) / 10
        return Rows(actions=target.astype(np.float32), pose=pose.astype(np.float32), times=times)

    def _frames(self, pose: np.ndarray) -> np.ndarray:
        frames = np.full((LENGTH, 24, 24, 3), 60, np.uint8)
        for t, (x, y, _) in enumerate(pose):
            row, column = int(9 + 8 * y), int(9 + 8 * x)
            frames[t, row : row + 6, column : column + 6] = 200 + t % 40
        return frames

    def rows(self, index: int) -> Rows:
        return self.parts[index]

    def frames(self, index: int, view: str, rows=None):
        return self.pictures[index] if rows is None else self.pictures[index][rows]


def codes(source: Source) -> list[tuple[str, str | None, str]]:
    return [(finding.code, finding.episode, finding.field) for finding in check(source)]


def test_a_good_dataset_has_no_findings() -> None:
    assert check(Memory()) == []


def test_an_angle_that_wraps() -> None:
    source = Memory()
    for values in (source.parts[2].actions, source.parts[2].pose):
        values[:, 2] = np.angle(np.exp(1j * (np.pi - 0.5 + np.linspace(0, 1, LENGTH))))
    found = [f for f in check(source) if f.code == "angle-wraps"]
    assert [(f.episodes, f.fields) for f in found] == [(("2",), ("action.roll", "pose.roll"))]
    assert "first at frame 30" in found[0].text
    assert harmful(found)


def toggling(values: np.ndarray) -> np.ndarray:
    return np.where(values > np.median(values), 3.0, -3.0)


@pytest.mark.parametrize(
    "command",
    [
        toggling,
        lambda values: toggling(values) * np.where(np.arange(len(values)) % 7 == 0, 0, 1),  # stops
        lambda values: toggling(values) + np.random.default_rng(0).normal(0, 0.01, len(values)),
        lambda values: np.where(np.arange(len(values)) % 2, 3.1, -3.1),  # in every frame
    ],
)
def test_a_command_that_toggles_is_no_angle(command) -> None:
    source = Memory()
    for rows in source.parts:
        rows.actions[:, 1] = command(rows.actions[:, 1])
    assert "angle-wraps" not in [f.code for f in check(source)]


@pytest.mark.parametrize("speed", [0.02, 0.3, 1.2])
def test_angles_of_any_speed_are_found(speed: float) -> None:
    source = Memory()
    turning = np.angle(np.exp(1j * (3 + speed * np.arange(LENGTH))))
    source.parts[0].pose[:, 2] = turning
    assert "angle-wraps" in [f.code for f in check(source)]


def test_advice_fits_columns_without_names() -> None:
    source = Memory()
    source.spec = replace(source.spec, pose_names=("pose_0", "pose_1", "pose_2"))
    source.parts[0].pose[:, 2] = np.angle(np.exp(1j * (3 + 0.1 * np.arange(LENGTH))))
    (found,) = [f for f in check(source) if f.code == "angle-wraps"]
    assert "unwrap it (numpy.unwrap" in found.text
    named = replace(source.spec, pose_names=("roll", "pitch", "yaw"))
    source.spec = named
    (found,) = [f for f in check(source) if f.code == "angle-wraps"]
    assert "--rotation 6d" in found.text


def test_one_finding_stands_for_all_of_its_kind() -> None:
    class Lost(Memory):
        def frames(self, index: int, view: str, rows=None):
            raise DataError(Path(f"{index}.mp4"), "video", "it does not exist.")

    (found,) = check(Lost(110))
    assert (found.code, found.count, len(found.episodes)) == ("frames-unreadable", 110, 110)
    assert "0.mp4: video: it does not exist." in found.text
    assert "[110 such findings, in 110 episodes: 0, 1, 2, 3, 4, ...]" in found.text


def test_a_dimension_that_never_changes() -> None:
    source = Memory()
    for rows in source.parts:
        rows.actions[:, 1] = 0.5
    found = [f for f in check(source) if f.code == "constant"]
    assert [(f.field, f.severity) for f in found] == [("action.y", "warning")]
    assert "is 0.5 in every frame" in found[0].text


def test_percentiles_that_cannot_normalise() -> None:
    source = Memory()
    for rows in source.parts:
        rows.actions[:, 1] = 0
    source.parts[0].actions[0, 1] = 1  # a button pressed once in 360 frames
    assert ("normalisation-inert", None, "action.y") in codes(source)


def test_an_outlier_is_named_by_episode_and_frame() -> None:
    source = Memory()
    source.parts[3].pose[17, 0] = 500
    found = next(f for f in check(source) if f.code == "outlier")
    assert (found.episode, found.field) == ("3", "pose.x")
    assert "is 500 at frame 17" in found.text


def test_times() -> None:
    source = Memory()
    times = np.arange(LENGTH) / 10
    source.parts[1] = replace(source.parts[1], times=times + 0.4 * (times > 2))
    source.parts[4] = replace(source.parts[4], times=times * 2)
    assert codes(source) == [
        ("rate-differs", "4", "timestamp"),
        ("timestamp-gap", "1", "timestamp"),
    ]


@pytest.mark.parametrize(
    ("begin", "value", "code"), [(0, 0, "black-camera"), (50, 2, "black-camera")]
)
def test_black_frames(begin: int, value: int, code: str) -> None:
    source = Memory()
    source.pictures[5][begin:] = value
    assert codes(source) == [(code, "5", "top")]


def test_a_frozen_camera_counts_only_while_the_arm_moves() -> None:
    source = Memory()
    source.pictures[5][20:45] = source.pictures[5][20]
    found = check(source)
    assert [(f.code, f.episode) for f in found] == [("frozen-camera", "5")]
    assert "from frame 20 to 44" in found[0].text
    resting = Memory()
    for values in (resting.parts[5].actions, resting.parts[5].pose):
        values[20:45] = values[20]
    resting.pictures[5][20:45] = resting.pictures[5][20]
    assert "frozen-camera" not in [f.code for f in check(resting)]


def test_actions_that_explain_nothing() -> None:
    source, rng = Memory(20), np.random.default_rng(0)
    for rows in source.parts:
        rows.pose[:] = rng.normal(size=(LENGTH, 3)).cumsum(axis=0) / 10
        rows.actions[:] = rng.normal(size=(LENGTH, 3))
    assert ("actions-unexplained", None, "action") in codes(source)


def test_actions_that_come_too_early_are_told_by_how_much() -> None:
    source = Memory()
    source.parts = [
        replace(rows, actions=np.concatenate([rows.actions[2:], rows.actions[-1:].repeat(2, 0)]))
        for rows in source.parts
    ]
    shares = explained(source.parts)
    assert shares is not None
    assert shares.argmax() == 2
    assert shares[2] > 0.95
    found = next(f for f in check(source) if f.code == "action-lag")
    assert "best with a delay of 2 frames" in found.text


def test_too_few_rows_tell_nothing() -> None:
    assert explained([Rows(actions=np.ones((5, 2), np.float32), pose=np.ones((5, 2), np.float32))]) is None  # fmt: skip  # noqa: E501


def test_an_episode_twice() -> None:
    source = Memory()
    source.parts[4] = replace(source.parts[4], actions=source.parts[1].actions.copy())
    source.parts[4] = replace(source.parts[4], pose=source.parts[1].pose.copy())
    assert ("duplicate-episode", "4", "rows") in codes(source)


def copied(source: Memory, index: int, part: slice) -> None:
    """Add a part of an episode as another one, its numbers rounded."""
    rows, pictures = source.parts[index], source.pictures[index][part]
    actions, pose = rows.actions[part].round(3), rows.pose[part].round(3)
    source.parts.append(Rows(actions=actions, pose=pose, times=np.arange(len(pose)) / 10))
    source.pictures.append(pictures)
    source.heads.append(replace(source.heads[index], id="copy", length=len(pose)))


@pytest.mark.parametrize(
    ("part", "where"),
    [
        (slice(None), "frames"),
        (slice(8, 50), "to 4[0-9] of 4"),  # both ends left out
        (slice(None, None, 2), "frames"),  # at half the rate
    ],
)
def test_a_copy_that_is_not_exact(part: slice, where: str) -> None:
    source = Memory()
    copied(source, 4, part)
    (found,) = [f for f in check(source) if f.code == "near-duplicate"]
    assert (found.episode, found.field, found.severity) == ("copy", "pose", "warning")
    assert "its images and poses are nearly the same as those of episode 4" in found.text
    assert re.search(where, found.text)


def test_the_same_motion_before_other_pictures_is_no_copy() -> None:
    source = Memory()
    copied(source, 4, slice(None))
    source.pictures[-1] = source.pictures[-1] // 2  # the light was off
    assert "near-duplicate" not in [f.code for f in check(source)]
    blind = [f for f in check(source, pictures=False) if f.code == "near-duplicate"]
    assert "its poses are nearly the same as those of episode 4" in blind[0].text


def test_two_arms_that_rest_are_no_copies() -> None:
    still = np.zeros((40, 3))
    moving = np.random.default_rng(0).normal(size=(40, 3)).cumsum(axis=0)
    assert near_pairs([still, still.copy()]) == []
    assert near_pairs([still, still.copy(), moving, -moving]) == []
    backwards = near_pairs([moving, moving[::-1]])
    assert backwards == []


def test_a_copy_among_real_episodes(droid: Path) -> None:
    source = open_source(droid)
    poses = [source.rows(index).pose for index in range(len(source))]
    assert near_pairs(poses) == []
    (pair,) = near_pairs([*poses, poses[4][6:-3].round(3)])
    assert (pair.copy, pair.original) == (9, 4) or (pair.copy, pair.original) == (4, 9)


def test_unknown_success_is_counted() -> None:
    source = Memory()
    source.heads[1:3] = [replace(head, success=None) for head in source.heads[1:3]]
    found = check(source)
    assert [(f.code, f.severity) for f in found] == [("unknown-success", "warning")]
    assert "is unknown for 2 of 6 episodes (1, 2)" in found[0].text
    assert not harmful(found)


def test_what_cannot_be_read_is_a_finding() -> None:
    class Damaged(Memory):
        def rows(self, index: int) -> Rows:
            if index == 1:
                raise DataError(Path("a.parquet"), "action", "the value is nan.")
            return super().rows(index)

        def frames(self, index: int, view: str, rows=None):
            if index == 2:
                raise DataError(Path("b.mp4"), "video", "frame 9 cannot be decoded.")
            return super().frames(index, view, rows)

    found = {(f.code, f.episode): f.text for f in check(Damaged())}
    assert "a.parquet: action: the value is nan" in found["episode-skipped", "1"]
    assert "b.mp4: video: frame 9" in found["frames-unreadable", "2"]


def test_what_is_truly_there_in_real_episodes(droid: Path) -> None:
    found = check(open_source(droid), pictures=False)
    (wrapping,) = [f for f in found if f.code == "angle-wraps"]
    # The gripper points down, so its roll is close to pi and goes over it in most episodes.
    assert "1" in wrapping.episodes
    assert set(wrapping.fields) == {"action.roll", "pose.roll"}
    assert [f.count for f in found if f.code == "no-task"] == [5]
    absent = ("outlier", "duplicate-episode", "near-duplicate", "constant")
    assert not [f for f in found if f.code in absent]
    assert harmful(found)
