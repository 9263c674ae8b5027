"""What a run is made of: the same names with other contents are noticed, growth is welcome."""

from dataclasses import replace
from pathlib import Path

import pytest

from worldeval.errors import UserError
from worldeval.evaluate.manifest import (
    Manifest,
    Tried,
    fingerprint,
    read_manifest,
    write_manifest,
)

MANIFEST = Manifest(
    seed=0,
    world="w1",
    judge="j1",
    protocol={"horizon": 30, "tasks": ["open"]},
    policies={"a": Tried(ref="runs/a", hash="1"), "b": Tried(ref="ws://host", hash=None)},
)
RUN = Path("runs/x")


def test_it_comes_back_from_its_file(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
    write_manifest(tmp_path, MANIFEST)
    assert read_manifest(tmp_path) == MANIFEST


def test_policies_are_added_and_none_is_lost() -> None:
    now = replace(MANIFEST, policies={"c": Tried(ref="runs/c", hash="3")})
    assert set(now.with_earlier(MANIFEST, RUN, redo=False).policies) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"world": "w2"}, "another world"),
        ({"judge": "j2"}, "another judge"),
        ({"protocol": {"horizon": 20, "tasks": ["open"]}}, "horizon 30, now 20"),
        ({"seed": 3}, "--seed 0, not 3"),
    ],
)
def test_what_outcomes_depend_on_may_not_change(change: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        replace(MANIFEST, **change).with_earlier(MANIFEST, RUN, redo=True)


def test_a_changed_checkpoint_under_the_same_name_is_noticed() -> None:
    now = replace(MANIFEST, policies={"a": Tried(ref="runs/a", hash="2")})
    with pytest.raises(UserError, match=r"Policy a \(runs/a\) has changed.*--redo-changed"):
        now.with_earlier(MANIFEST, RUN, redo=False)
    assert now.changed(MANIFEST) == ["a"]
    assert now.with_earlier(MANIFEST, RUN, redo=True).policies["a"].hash == "2"


def test_a_moved_checkpoint_is_the_same() -> None:
    now = replace(MANIFEST, policies={"a": Tried(ref="elsewhere/a", hash="1")})
    assert now.changed(MANIFEST) == []


def test_fingerprints_are_of_contents_and_parameters(tmp_path: Path) -> None:
    folder, code = tmp_path / "a", tmp_path / "mine.py"
    folder.mkdir()
    (folder / "weights").write_bytes(b"1")
    code.write_text("def make(): ...")
    first = fingerprint(str(folder))
    (folder / "weights").write_bytes(b"2")
    assert first != fingerprint(str(folder))
    assert fingerprint("zero") != fingerprint("zero?chunk=2") != fingerprint("random")
    assert fingerprint(f"{code}:make") != fingerprint(f"{code}:make?size=2")
    assert fingerprint("worldeval.policy.builtin:Zero") is not None
    assert fingerprint("ws://host:8000") is None
