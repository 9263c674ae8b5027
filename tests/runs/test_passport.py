"""passport.json: sealed, compared with its files, signed by a key; its schema is published."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from worldeval.errors import UserError
from worldeval.files import write_json
from worldeval.runs.passport import (
    FILE,
    SIGNATURE,
    HashedFile,
    Passport,
    PassportModel,
    PassportScope,
    find_passport,
    passports_of,
    read_passport,
    write_passport,
)
from worldeval.runs.passport_files import file_states, hashed_file
from worldeval.runs.schema import PASSPORT_PLACE, passport_schema
from worldeval.runs.schema import text as schema_text
from worldeval.runs.sealed_json import sign, verify
from worldeval.stats import Estimate, ValidatedRate, ValidatedRates

needs_ssh = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")


def passport(**changes: object) -> Passport:
    fields = {
        "made": "2026-01-01T00:00:00+00:00",
        "worldeval": "0.1.0",
        "world": PassportModel(folder="../world", hash="w"),
        "judge": PassportModel(folder=".", hash="j"),
        "scope": PassportScope(tasks=("open",)),
        "rates": ValidatedRates(
            rates=(
                ValidatedRate(policy="a", lineage="a", predicted=0.1, successes=1.0, trials=10),
            ),
        ),
        "gates": {"false_success": Estimate(value=0.1, low=0.0, high=0.2)},
        **changes,
    }
    return Passport(**fields)  # type: ignore[arg-type]


def test_what_is_written_is_read_with_its_checksum(tmp_path: Path) -> None:
    written = write_passport(tmp_path, passport())
    assert read_passport(tmp_path) == written
    assert len(written.sha256) == 64
    assert find_passport(tmp_path / "none") is None


def test_an_edit_is_noticed_and_another_layout_is_not(tmp_path: Path) -> None:
    write_passport(tmp_path, passport())
    content = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps(dict(reversed(content.items()))))
    read_passport(tmp_path)
    content["scope"]["tasks"] = ["open", "close"]
    write_json(tmp_path / FILE, content)
    with pytest.raises(UserError, match="was edited or is damaged"):
        read_passport(tmp_path)


def test_files_are_unchanged_changed_missing_or_kept_elsewhere(tmp_path: Path) -> None:
    judge, world = tmp_path / "judge", tmp_path / "world"
    for folder in (judge, world):
        folder.mkdir()
    for name in ("world.json", "tokenizer", "starts.h5"):
        (world / name).write_text(name)
    files = (
        hashed_file("world card", world / "world.json", judge),
        hashed_file("tokenizer", world / "tokenizer", judge),
        hashed_file("starts", world / "starts.h5", judge),
        HashedFile(role="data card", name="card.yaml", sha256="0" * 64),
    )
    (world / "tokenizer").write_text("another")
    (world / "starts.h5").unlink()
    states = file_states(judge, passport(files=files))
    assert [each.state for each in states] == ["unchanged", "changed", "missing", "kept elsewhere"]
    assert [each.wrong for each in states] == [False, True, False, False]  # the rest is evidence
    (world / "world.json").unlink()
    assert file_states(judge, passport(files=files))[0].wrong


def test_paths_that_lead_far_away_are_not_kept(tmp_path: Path) -> None:
    far = tmp_path / "starts.h5"
    far.write_text("far")
    judge = tmp_path / "a/b/c"
    assert hashed_file("starts", far, judge).path == ""
    assert hashed_file("starts", far, tmp_path / "a/b").path == "../../starts.h5"


def test_a_passport_is_found_by_judge_lab_or_world(tmp_path: Path) -> None:
    judge, world = tmp_path / "judge", tmp_path / "world"
    world.mkdir()
    write_passport(judge, passport())
    assert passports_of(judge) == passports_of(tmp_path) == passports_of(judge / FILE) == [judge]
    assert [found.resolve() for found in passports_of(world)] == [judge.resolve()]
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match="has no passport"):
        passports_of(tmp_path / "other")


@needs_ssh
def test_a_signature_names_its_key_and_breaks_with_the_content(tmp_path: Path) -> None:
    for name in ("mine", "theirs"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)]
        subprocess.run(words, check=True)
    write_passport(tmp_path, passport())
    path = tmp_path / FILE
    with pytest.raises(UserError, match="is not signed"):
        verify(path, tmp_path / "mine.pub")
    sign(path, tmp_path / "mine")
    verify(path, tmp_path / "mine.pub")
    with pytest.raises(UserError, match=r"does not fit .*theirs\.pub"):
        verify(path, tmp_path / "theirs.pub")
    signature = (tmp_path / SIGNATURE).read_bytes()
    write_passport(tmp_path, passport(made="2027-01-01T00:00:00+00:00"))
    assert not (tmp_path / SIGNATURE).exists()  # it was of another content
    (tmp_path / SIGNATURE).write_bytes(signature)
    with pytest.raises(UserError, match="changed after it was signed"):
        verify(path, tmp_path / "mine.pub")
    with pytest.raises(UserError, match="There is no private key"):
        sign(path, tmp_path / "nobody")


def test_the_published_schema_is_this_one() -> None:
    assert PASSPORT_PLACE.read_text() == schema_text(passport_schema())
    assert "rates" in passport_schema()["properties"]
