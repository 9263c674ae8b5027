"""Files are written whole, and JSON is read or refused in one line."""

from pathlib import Path

import numpy as np
import pytest

from worldeval import files
from worldeval.errors import UserError


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.csv"
    with pytest.raises(RuntimeError), files.whole_file(path) as draft:
        draft.write_text("half")
        raise RuntimeError
    assert list(path.parent.iterdir()) == []
    with files.whole_file(path) as draft:
        assert draft.suffix == ".csv"
        draft.write_text("whole")
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(path, {"a": float("nan")})
    assert files.read_json(path) == {"a": 1}


def test_others_may_read_what_the_umask_lets_them_read(tmp_path: Path) -> None:
    plain, private = tmp_path / "plain", tmp_path / "private"
    plain.touch()
    with files.whole_file(private) as draft:
        draft.touch(mode=0o600)  # as safetensors does
    assert private.stat().st_mode == plain.stat().st_mode


def test_json_takes_paths_and_numpy_numbers(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    files.write_json(path, {"n": np.int64(2), "r": np.float32(0.5), "v": np.arange(2), "p": path})
    assert files.read_json(path) == {"n": 2, "r": 0.5, "v": [0, 1], "p": str(path)}


def test_reading_json_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"summary\.json does not exist"):
        files.read_json(tmp_path / "summary.json")
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(UserError, match=r"summary\.json is not readable JSON"):
        files.read_json(tmp_path / "summary.json")


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe{}", b"[" * 100_000, b""])
def test_what_is_no_json_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.json is not readable JSON") as error:
        files.read_json(tmp_path / "x.json")
    assert "\n" not in str(error.value)


def test_any_task_gives_a_file_name_of_its_own() -> None:
    assert files.file_name("drawer-open-v3") == "drawer-open-v3"
    texts = [
        "put it in/on the tray",
        "put it in on the tray",
        "../up",
        "把杯子放好",
        "?",
        "x" * 300,
    ]
    names = [files.file_name(text) for text in texts]
    assert len(set(names)) == len(texts)
    assert all("/" not in name and name[0] != "." for name in names)
    assert all(0 < len(name.encode()) < 200 for name in names)
