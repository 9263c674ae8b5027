"""Datasets as the command line names them: weights, formats, maps and the mark of video."""

from pathlib import Path

import pytest

from worldeval.data.data_map import DataMap
from worldeval.data.weighted import Weighted, read_mixture, read_weighted, refuse_video
from worldeval.errors import UserError


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("demos", Weighted(path=Path("demos"))),
        ("demos:0.3", Weighted(path=Path("demos"), weight=0.3)),
        ("demos:0.3:video", Weighted(path=Path("demos"), weight=0.3, video=True)),
        ("people:video", Weighted(path=Path("people"), video=True)),
    ],
)
def test_what_is_written(text: str, meant: Weighted) -> None:
    assert read_weighted(text) == meant


def test_a_folder_may_have_colons_in_its_name(tmp_path: Path) -> None:
    for name in ("a:video", "b:2"):
        (tmp_path / name).mkdir()
        assert read_weighted(str(tmp_path / name)) == Weighted(path=tmp_path / name)


@pytest.mark.parametrize("text", ["demos:0", "demos:-1", "demos:x", "demos:nan:video", "a:1:film"])
def test_what_is_no_weight(text: str) -> None:
    with pytest.raises(UserError, match="is not a valid weight"):
        read_weighted(text)


def test_maps_are_one_for_all_or_one_for_each(tmp_path: Path) -> None:
    maps = []
    for fps in (5, 15):
        maps.append(tmp_path / f"{fps}.yaml")
        maps[-1].write_text(f"fps: {fps}")
    one = read_mixture(["a", "b:2"], (), maps[:1])
    assert [part.given for part in one] == [DataMap(fps=5)] * 2
    each = read_mixture(["a", "b:2"], ["rlds"], maps)
    assert [(part.given.fps, part.format) for part in each] == [(5, "rlds"), (15, "rlds")]
    with pytest.raises(UserError, match="3 datasets but 2 values of --map"):
        read_mixture(["a", "b", "c"], (), maps)


def test_video_is_refused_by_families_that_learn_from_actions() -> None:
    parts = [read_weighted("robot"), read_weighted("people:0.5:video")]
    refuse_video(parts, "uwm", learns_video=True)
    with pytest.raises(UserError, match="people is marked as video, but a policy needs"):
        refuse_video(parts, "policy", learns_video=False)
    with pytest.raises(UserError, match="All datasets"):
        refuse_video(parts[1:], "uwm", learns_video=True)
