"""Ctrl-World's JSON layout: real DROID episodes, and what is odd in such files."""

import json
from pathlib import Path

import numpy as np
import pytest

from worldeval.data.finding import DataError
from worldeval.data.formats.ctrl_world import POSE
from worldeval.data.source import open_source
from worldeval.data.video import VideoWriter

LENGTH = 6


@pytest.fixture
def folder(tmp_path: Path, made) -> Path:
    """One episode of six frames with raw commands at three times the rate."""
    (tmp_path / "videos").mkdir()
    (tmp_path / "annotation/train").mkdir(parents=True)
    for view in range(3):
        with VideoWriter(tmp_path / f"videos/{view}.mp4", fps=5, size=(48, 64)) as writer:
            writer.append(made(view, length=LENGTH).frames["top"])
    states = np.random.default_rng(0).uniform(-1, 1, (LENGTH, 7))
    raw = np.arange(3 * LENGTH - 1)  # DROID drops up to two raw rows at the end
    note = {
        "texts": ["put the cup down"],
        "episode_id": 7,
        "success": 1,
        "video_length": LENGTH,
        "videos": [{"video_path": f"videos/{view}.mp4"} for view in range(3)],
        "states": states.tolist(),
        "action.cartesian_position": np.repeat(raw[:, None], 6, axis=1).tolist(),
        "action.gripper_position": (raw / 100).tolist(),
    }
    (tmp_path / "annotation/train/7.json").write_text(json.dumps(note))
    return tmp_path


def change(folder: Path, **keys: object) -> Path:
    file = folder / "annotation/train/7.json"
    note = json.loads(file.read_text()) | keys
    file.write_text(json.dumps({k: v for k, v in note.items() if v is not None}))
    return folder


def codes(source) -> list[str]:
    return [finding.code for finding in source.findings]


def test_an_episode(folder: Path) -> None:
    source = open_source(folder)
    assert source.spec.format == "ctrl-world"
    assert source.spec.action_names == source.spec.pose_names == POSE
    episode = source.episode(0)
    assert (episode.id, episode.task, episode.success) == ("7", "put the cup down", True)
    assert (episode.fps, len(episode)) == (5.0, LENGTH)
    assert list(episode.frames) == ["exterior_1", "exterior_2", "wrist"]
    assert not source.findings


def test_an_action_is_the_last_command_before_the_next_frame(folder: Path) -> None:
    actions = open_source(folder).rows(0).actions
    # Frame t is raw row 3t; the recording ends before the last frame's third command.
    assert actions[:, 0].tolist() == [2, 5, 8, 11, 14, 16]
    assert actions[:, 6] == pytest.approx(actions[:, 0] / 100)


def test_without_raw_commands_the_next_pose_stands_for_the_action(folder: Path) -> None:
    change(folder, **{"action.cartesian_position": None})
    source = open_source(folder)
    rows = source.rows(0)
    assert np.array_equal(rows.actions[:-1], rows.pose[1:])
    assert codes(source) == ["actions-made-up"]


def test_frame_counts_that_differ_are_said_and_cut(folder: Path) -> None:
    states = json.loads((folder / "annotation/train/7.json").read_text())["states"]
    source = open_source(change(folder, states=states[:-1]))
    assert source.heads[0].length == LENGTH - 1
    assert len(source.episode(0).frames["wrist"]) == LENGTH - 1
    assert codes(source) == ["frame-count", "frame-count"]  # the videos; video_length


def test_a_wrong_rate_tag_is_said_and_ignored(folder: Path, made) -> None:
    with VideoWriter(folder / "videos/0.mp4", fps=4, size=(48, 64)) as writer:
        writer.append(made(0, length=LENGTH).frames["top"])
    source = open_source(folder)
    assert source.spec.fps == 5
    assert codes(source) == ["fps-tag"]


def test_unknown_success_and_no_text(folder: Path) -> None:
    source = open_source(change(folder, success=None, texts=[""]))
    assert source.heads[0].success is None
    assert codes(source) == ["no-task"]


def test_an_unreadable_episode_is_skipped_and_counted(folder: Path) -> None:
    (folder / "annotation/train/8.json").write_text('{"texts": ["')
    source = open_source(folder)
    assert [head.id for head in source.heads] == ["7"]
    assert codes(source) == ["episode-skipped"]
    assert "8.json: file: it is not readable JSON" in source.findings[0].text


@pytest.mark.parametrize("path", ["../outside.mp4", "/etc/hostname"])
def test_a_video_outside_the_folder_is_refused(folder: Path, path: str) -> None:
    change(folder, videos=[{"video_path": path}])
    with pytest.raises(
        DataError,
        match=r"videos\[0\]\.video_path: .* points outside the dataset "
        "folder",
    ):
        open_source(folder)


def test_a_link_that_leads_outside_is_refused(folder: Path, tmp_path_factory) -> None:
    outside = tmp_path_factory.mktemp("elsewhere") / "0.mp4"
    (folder / "videos/0.mp4").rename(outside)
    (folder / "videos/0.mp4").symlink_to(outside)
    with pytest.raises(DataError, match="points outside the dataset folder"):
        open_source(folder)


def test_the_real_episodes(droid: Path) -> None:
    source = open_source(droid)
    assert [head.id for head in source.heads] == ["0", "1", "2", "3", "4", "5", "6", "199", "1799"]
    assert [head.length for head in source.heads] == [56, 89, 137, 80, 124, 62, 39, 33, 41]
    assert [head.success for head in source.heads] == [True] * 4 + [False] * 5
    assert [head.split for head in source.heads] == ["train"] * 7 + ["val"] * 2
    assert dict(source.spec.views) == dict.fromkeys(source.spec.views, (192, 320))
    assert codes(source) == ["no-task"] * 5
    raw = json.loads((droid / "annotation/train/1.json").read_text())
    rows = source.rows(1)
    assert np.allclose(rows.pose, raw["states"])
    assert np.allclose(rows.actions[10, :6], raw["action.cartesian_position"][32])


def test_real_latents_are_those_of_the_frames(droid: Path) -> None:
    source = open_source(droid)
    latents = source.latents(7)
    assert {view: latent.shape for view, latent in latents.items()} == dict.fromkeys(
        source.spec.views, (33, 4, 24, 40)
    )
    # The SVD latent's first channel follows brightness: its pixels are 8 x 8 image blocks.
    frames = source.frames(7, "wrist").mean(axis=-1).reshape(33, 24, 8, 40, 8).mean(axis=(2, 4))
    correlation = np.corrcoef(latents["wrist"][:, 0].ravel(), frames.ravel())[0, 1]
    assert abs(correlation) > 0.5


def test_real_episodes_through_lerobot_lose_nothing(droid: Path, tmp_path: Path, quality) -> None:
    from worldeval.data.formats.lerobot.layout import Layout
    from worldeval.data.formats.lerobot.write import LeRobotWriter

    source = open_source(droid)
    spec, kept = source.spec, [5, 6, 7]  # two failures, one of them held out; 134 frames
    layout = Layout(
        fps=spec.fps, views=spec.views, action_names=spec.action_names, pose_names=spec.pose_names
    )
    with LeRobotWriter(tmp_path / "set", layout) as writer:
        for index in kept:
            writer.add(source.episode(index), columns={"split": source.heads[index].split})
    back = open_source(tmp_path / "set")
    for place, index in enumerate(kept):
        one, other = source.episode(index), back.episode(place)
        assert back.heads[place] == source.heads[index]
        assert np.array_equal(one.actions, other.actions)
        assert np.array_equal(one.pose, other.pose)
        for view in spec.views:
            assert quality(one.frames[view], other.frames[view]) > 38
