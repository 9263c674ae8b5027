"""The starts of a run come back, or are refused where their file changed."""

from pathlib import Path

import pytest

from tests.support.toy_store import toy_starts
from worldeval.errors import UserError
from worldeval.evaluate.kept_starts import keep_starts, read_kept_starts


def test_starts_come_back_and_a_changed_pixel_is_refused(tmp_path: Path) -> None:
    keep_starts(tmp_path, toy_starts(3))
    assert [one.id for one in read_kept_starts(tmp_path)] == [one.id for one in toy_starts(3)]
    path = tmp_path / "starts.h5"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="Restore the file from a copy of the run"):
        read_kept_starts(tmp_path)


def test_a_run_without_starts_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file of starts"):
        read_kept_starts(tmp_path)
