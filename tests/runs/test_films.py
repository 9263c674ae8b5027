"""Film strips: written, found again, and never read from outside of their folder."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.synthetic_run import moving_square
from worldeval.errors import UserError
from worldeval.runs.films import (
    Filmstrip,
    Moves,
    read_filmstrips,
    read_frames,
    read_moves,
    write_filmstrip,
)
from worldeval.runs.paths import FILM_INDEX


def entry(policy: str = "bc@100", **changes) -> Filmstrip:
    given = {
        "policy": policy,
        "task": "open",
        "start": "open-3",
        "seed": 3,
        "probability": 0.9,
        "success": True,
    }
    return Filmstrip(**{**given, **changes})


def test_what_was_written_is_read(tmp_path: Path) -> None:
    frames = {"side": moving_square(5), "top": moving_square(5, tint=20)}
    write_filmstrip(tmp_path, entry(evidence=(0.1, 0.9)), frames, {"side": moving_square(3)})
    (found,) = read_filmstrips(tmp_path)
    assert found == entry(evidence=(0.1, 0.9), imagined=found.imagined, truth=found.truth)
    np.testing.assert_array_equal(read_frames(tmp_path, found.imagined)["top"], frames["top"])
    assert found.truth is not None
    assert read_frames(tmp_path, found.truth)["side"].shape == (3, 32, 32, 3)


def test_the_numbers_of_the_real_side_are_kept_with_it(tmp_path: Path) -> None:
    moves = Moves(actions=np.ones((2, 8), np.float32), pose=np.zeros((3, 4), np.float32))
    frames = {"side": moving_square(3)}
    written = write_filmstrip(tmp_path, entry(), frames, frames, moves)
    (found,) = read_filmstrips(tmp_path)
    assert found == written
    assert found.moves is not None
    kept = read_moves(tmp_path, found.moves)
    np.testing.assert_array_equal(kept.actions, moves.actions)
    np.testing.assert_array_equal(kept.pose, moves.pose)
    with pytest.raises(UserError, match="points outside"):
        read_moves(tmp_path, "../moves.npz")
    with pytest.raises(UserError, match="no actions and poses"):
        read_moves(tmp_path, found.imagined)
    np.savez(tmp_path / "short.npz", actions=moves.actions, pose=moves.pose[:2])
    with pytest.raises(UserError, match="one more pose"):
        read_moves(tmp_path, "short.npz")


def test_the_same_rollout_is_replaced_and_another_is_added(tmp_path: Path) -> None:
    frames = {"side": moving_square(4)}
    write_filmstrip(tmp_path, entry(probability=0.1), frames)
    write_filmstrip(tmp_path, entry("other"), frames)
    write_filmstrip(tmp_path, entry(probability=0.7), frames)
    found = {strip.policy: strip.probability for strip in read_filmstrips(tmp_path)}
    assert found == {"other": 0.9, "bc@100": 0.7}


def test_names_with_odd_characters_stay_apart_and_inside(tmp_path: Path) -> None:
    frames = {"side": moving_square(2)}
    for policy in ("../../up", "..\\..\\up", "/absolute", "ü" * 300):
        written = write_filmstrip(tmp_path, entry(policy), frames)
        assert (tmp_path / written.imagined).parent == tmp_path
    assert len({strip.imagined for strip in read_filmstrips(tmp_path)}) == 4
    assert len(list(tmp_path.glob("*.npz"))) == 4


def test_a_folder_without_index_holds_none(tmp_path: Path) -> None:
    assert read_filmstrips(tmp_path / "nowhere") == []


@pytest.mark.parametrize("name", ["../secret.npz", "/etc/passwd", "link.npz", ""])
def test_a_file_outside_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    np.savez(tmp_path / "secret.npz", side=moving_square(2))
    folder = tmp_path / "filmstrips"
    folder.mkdir()
    (folder / "link.npz").symlink_to(tmp_path / "secret.npz")
    with pytest.raises(UserError, match="points outside"):
        read_frames(folder, name)


def test_frames_of_another_kind_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", side=np.zeros((2, 4, 4, 3), np.float32))
    with pytest.raises(UserError, match="view 'side' is float32"):
        read_frames(tmp_path, "a.npz")
    (tmp_path / "b.npz").write_bytes(b"no zip file")
    with pytest.raises(UserError, match="not a readable npz"):
        read_frames(tmp_path, "b.npz")
    with pytest.raises(UserError, match="is missing"):
        read_frames(tmp_path, "c.npz")


@pytest.mark.parametrize("content", [{"policy": "a"}, [{"policy": "a"}], [3], ["x"]])
def test_a_damaged_index_is_an_error_that_names_it(tmp_path: Path, content: object) -> None:
    (tmp_path / FILM_INDEX).write_text(json.dumps(content))
    with pytest.raises(UserError, match=FILM_INDEX):
        read_filmstrips(tmp_path)


@pytest.mark.parametrize(
    ("probability", "success", "agrees"),
    [
        (0.9, True, True),
        (0.5, True, True),
        (0.49, True, False),
        (0.2, None, None),
        (None, True, None),
    ],
)
def test_agreement_is_known_where_both_are(
    probability: float | None, success: bool | None, agrees: bool | None
) -> None:
    assert entry(probability=probability, success=success).agrees is agrees
