"""A reader of one's own: the example of docs/data.md runs, and faults are named."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.support.marked_frames import clip, read_marks
from worldeval.cli import app
from worldeval.config import build
from worldeval.data.data_map import DataMap, NumbersMap
from worldeval.data.recipe import RecordedRecipe
from worldeval.data.source import open_source
from worldeval.errors import UserError

DOCS = Path(__file__).parents[2] / "docs/data.md"
LENGTH = 4


@pytest.fixture
def code() -> str:
    (found,) = re.findall(r"runs it -->\n```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    return found


@pytest.fixture
def folder(tmp_path: Path, code: str) -> Path:
    """The example's own format, and the example as mine.py beside it."""
    (tmp_path / "mine.py").write_text(code)
    data = tmp_path / "recordings"
    data.mkdir()
    lines = ["name,words,success"]
    for index, success in enumerate(("yes", "no", "")):
        rng = np.random.default_rng(index)
        np.savez(
            data / f"e{index}.npz",
            act=rng.normal(size=(LENGTH, 3)),
            arm=rng.normal(size=(LENGTH, 3)),
            jpegs=stacked([jpeg(frame) for frame in clip(index, LENGTH)]),
        )
        lines.append(f"e{index},push it,{success}")
    (data / "index.csv").write_text("\n".join(lines))
    return tmp_path


def jpeg(frame: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, "jpeg", quality=95)
    return stream.getvalue()


def stacked(cells: list[bytes]) -> np.ndarray:
    longest = max(map(len, cells))
    return np.stack([np.frombuffer(cell.ljust(longest, b"\0"), np.uint8) for cell in cells])


def test_the_example_of_the_docs_reads_its_format(folder: Path, code: str) -> None:
    assert len(code.splitlines()) < 90
    source = open_source(folder / "recordings", f"{folder}/mine.py:Reader")
    assert [head.success for head in source.heads] == [True, False, None]
    for index in range(3):
        marks = read_marks(source.frames(index, "front"))
        assert [(mark.episode, mark.frame) for mark in marks] == [(index, t) for t in range(LENGTH)]
    assert source.spec.meaning.action[0].motion == "velocity"
    assert source.spec.meaning.pose[0].guessed  # x, y by their names alone


def test_it_serves_every_verb(folder: Path) -> None:
    read = ("--format", f"{folder}/mine.py:Reader")
    run = CliRunner().invoke
    done = run(app, ["data", "check", str(folder / "recordings"), *read, "--json"])
    assert done.exit_code in (0, 1) and "unknown-success" in done.stdout
    out = folder / "out"
    done = run(app, ["data", "convert", str(folder / "recordings"), str(out), *read])
    assert done.exit_code == 0, done.output
    back = open_source(out)
    assert [head.task for head in back.heads] == ["push it"] * 3


def test_a_damaged_episode_is_left_out_by_the_example(folder: Path) -> None:
    (folder / "recordings/e1.npz").write_bytes(b"PK")
    source = open_source(folder / "recordings", f"{folder}/mine.py:Reader")
    assert [head.id for head in source.heads] == ["e0", "e2"]
    assert [finding.code for finding in source.findings] == ["episode-skipped"]


def test_what_all_formats_share_of_a_map_works_without_the_readers_help(folder: Path) -> None:
    where, kind = folder / "recordings", f"{folder}/mine.py:Reader"
    assert open_source(where, kind, given=DataMap(fps=5, task="pull")).heads[0].task == "pull"
    with pytest.raises(UserError, match=r"'action.keys', which the format"):
        open_source(where, kind, given=DataMap(action=NumbersMap(keys=("act",))))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("class Reader(Source)", "class Reader", "does not derive from"),
        ('("x", "y", "grip")', '("x", "y")', r"pose of episode 'e0' are \(4, 3\); expected"),
        ("for row in wanted])", "for row in wanted]) / 255", r"float64; expected uint8 \(0-255\)"),
        ('convert("RGB")', 'convert("L")', r"expected \(1, 32, 64, 3\)"),
        ("        self.spec = SourceSpec(", "        self.about = SourceSpec(", "it has no spec"),
        ("path: Path) ->", "path: Path, more: int) ->", "cannot be made from a path alone"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_reader_is_named(
    folder: Path, code: str, old: str, new: str, says: str
) -> None:
    assert old in code
    (folder / "mine.py").write_text(code.replace(old, new))
    with pytest.raises(UserError, match=says):
        open_source(folder / "recordings", f"{folder}/mine.py:Reader")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("./nowhere.py:Reader", "There is no file"),
        ("no_such_module:Reader", "There is no module 'no_such_module' for reader"),
        ("mine.py:Reeder", "Did you mean 'Reader'"),
        ("mine.py:np", "is a module; it must be a class"),
    ],
)
def test_code_that_is_not_there(folder: Path, monkeypatch, kind: str, says: str) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match=says):
        open_source(folder / "recordings", kind)


def test_a_recipe_may_not_name_code(folder: Path) -> None:
    raw = {"path": str(folder / "recordings"), "format": "./mine.py:Reader"}
    with pytest.raises(UserError, match="is code, which a recipe may not name"):
        build(RecordedRecipe, raw, where="recipe.yaml")
