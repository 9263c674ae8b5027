"""What an episode did frame by frame, read without a network."""

from pathlib import Path

import numpy as np
import pytest

from worldeval.errors import UserError
from worldeval.report.trace import action_steps, pose_names, read_trace

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
    still, jumps = (read_trace(batch(tmp_path), "a.npz", row) for row in (1, 2))
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


def test_poses_are_named_as_the_record_has_them() -> None:
    assert pose_names(4) == ["x", "y", "z", "gripper"]
    assert pose_names(7)[3:] == ["orientation 1", "orientation 2", "orientation 3", "gripper"]
    assert pose_names(2) == ["pose 1", "pose 2"]
