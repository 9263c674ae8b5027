"""What an episode did frame by frame, read without a network."""

import json
from pathlib import Path

import numpy as np
import pytest

from worldeval.errors import UserError
from worldeval.report.trace import RobotPlace, action_steps, pose_names, read_place, read_trace

FRAMES, COUNT = 5, 3


def batch(folder: Path, **further: np.ndarray) -> Path:
    """Roll-outs in which the hand goes a centimetre a frame along x, and the last one jumps."""
    pose = np.zeros((COUNT, FRAMES, 4), np.float32)
    pose[:, :, 0] = 0.01 * np.arange(FRAMES)
    latents = np.zeros((COUNT, FRAMES, 1, 2, 2, 2), np.float16)
    latents[2, 3:] = 1.0
    actions = np.zeros((COUNT, FRAMES - 1, 4), np.float32)
    actions[1, 2, :2] = 1.0
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {"latents": latents, "actions": actions, "pose": pose, "facts": np.array("[]")}
    np.savez(folder / "a.npz", allow_pickle=False, **{**arrays, **further})
    return folder


def test_signals_over_time_have_a_number_a_frame(tmp_path: Path) -> None:
    place = RobotPlace(columns=(0, 1, 2), unit="m")
    still, jumps = (read_trace(batch(tmp_path), "a.npz", row, place=place) for row in (1, 2))
    assert "movement per frame (m)" in still.signals
    assert still.frames == FRAMES
    bound, hand, change = still.signals.values()
    np.testing.assert_allclose(bound, [0, 0, 0, 0.5, 0])  # the action that led to frame 3
    np.testing.assert_allclose(hand, [0, 0.01, 0.01, 0.01, 0.01], atol=1e-6)
    np.testing.assert_allclose(change, 0)
    np.testing.assert_allclose(jumps.signals["change in the latents"], [0, 0, 0, 1, 0])


def test_what_a_store_keeps_beside_is_shown(tmp_path: Path) -> None:
    evidence = np.tile(np.linspace(0, 1, FRAMES), (COUNT, 1)).astype(np.float16)
    drift = np.ones((COUNT, FRAMES - 1), np.float32)
    trace = read_trace(batch(tmp_path, evidence=evidence, drift=drift), "a.npz", 0)
    assert trace.evidence is not None
    np.testing.assert_allclose(trace.evidence, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(trace.signals["drift"], [0, 1, 1, 1, 1])


@pytest.mark.parametrize("name", ["../a.npz", "/etc/passwd", ""])
def test_nothing_outside_of_the_store_is_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="points outside"):
        read_trace(batch(tmp_path / "imagined"), name, 0)


def test_a_link_out_of_the_store_is_not_followed(tmp_path: Path) -> None:
    batch(tmp_path / "elsewhere")
    (tmp_path / "imagined").mkdir()
    (tmp_path / "imagined/a.npz").symlink_to(tmp_path / "elsewhere/a.npz")
    with pytest.raises(UserError, match="points outside"):
        read_trace(tmp_path / "imagined", "a.npz", 0)


def test_a_missing_row_or_a_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.npz contains no roll-out in row 7"):
        read_trace(batch(tmp_path), "a.npz", 7)
    (tmp_path / "a.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match="contains no roll-out"):
        read_trace(tmp_path, "a.npz", 0)


def test_a_frame_is_taken_apart_into_the_robots_steps() -> None:
    actions = np.arange(12.0).reshape(2, 6)
    np.testing.assert_array_equal(action_steps(actions, 3)[:, 0], [0, 3, 6, 9])
    assert action_steps(actions, 4) is actions  # six numbers are no steps of four


def card(folder: Path, body: dict | None, *, pose_dim: int = 4) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    spec = {"pose_dim": pose_dim, **({} if body is None else {"body": body})}
    (folder / "world.json").write_text(json.dumps({"spec": spec}))
    return folder


def test_where_the_robot_is_follows_from_its_worlds_card(tmp_path: Path) -> None:
    old = read_place(card(tmp_path / "old", None))
    assert old == RobotPlace(columns=(0, 1, 2), unit="m")
    assert pose_names(5, old) == ["x", "y", "z", "pose 4", "pose 5"]
    joints = read_place(card(tmp_path / "joints", {"place": [0, 1], "unit": "rad"}, pose_dim=2))
    assert pose_names(2, joints) == ["position 1", "position 2"]
    arms = read_place(card(tmp_path / "arms", {"place": [0, 1, 3, 4], "unit": "rad"}, pose_dim=6))
    assert pose_names(6, arms)[1:4] == ["position 2", "pose 3", "position 3"]
    assert read_place(tmp_path / "nowhere") is None
    assert pose_names(2, None) == ["pose 1", "pose 2"]


@pytest.mark.parametrize(
    ("place", "name", "movement"),
    [
        (RobotPlace(columns=(1,), unit="px"), "movement per frame (px)", 0.0),
        (RobotPlace(columns=(0, 3), unit="rad"), "movement per frame (rad)", 0.01),
        (RobotPlace(columns=(0,), unit=""), "movement per frame", 0.01),
    ],
)
def test_movement_is_that_of_the_robots_own_position(
    tmp_path: Path, place: RobotPlace, name: str, movement: float
) -> None:
    trace = read_trace(batch(tmp_path), "a.npz", 0, place=place)
    assert trace.signals[name].tolist() == pytest.approx([0, *[movement] * 4], abs=1e-6)


def test_without_a_known_place_no_movement_is_assumed(tmp_path: Path) -> None:
    assert not [name for name in read_trace(batch(tmp_path), "a.npz", 0).signals if "move" in name]
