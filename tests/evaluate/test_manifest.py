"""What a run is made of: the same names with other contents are noticed, growth is welcome."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.serving import Echo, serving
from worldeval.errors import UserError
from worldeval.evaluate.manifest import fingerprint
from worldeval.policy.remote.wire import pack
from worldeval.runs.manifest import Manifest, PolicyRecord, read_manifest, write_manifest
from worldeval.serve.policy import PolicyService

MANIFEST = Manifest(
    seed=0,
    world="w1",
    judge="j1",
    protocol={"horizon": 30, "tasks": ["open"]},
    policies={
        "a": PolicyRecord(ref="runs/a", hash="1"),
        "b": PolicyRecord(ref="ws://host", hash=None),
    },
)
RUN = Path("runs/x")


def test_it_comes_back_from_its_file(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
    write_manifest(tmp_path, MANIFEST)
    assert read_manifest(tmp_path) == MANIFEST


def test_policies_are_added_and_none_is_lost() -> None:
    now = replace(MANIFEST, policies={"c": PolicyRecord(ref="runs/c", hash="3")})
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
    now = replace(MANIFEST, policies={"a": PolicyRecord(ref="runs/a", hash="2")})
    with pytest.raises(UserError, match=r"Policy a \(runs/a\) has changed.*--redo-changed"):
        now.with_earlier(MANIFEST, RUN, redo=False)
    assert now.changed(MANIFEST) == ["a"]
    assert now.with_earlier(MANIFEST, RUN, redo=True).policies["a"].hash == "2"


def test_a_moved_checkpoint_is_the_same() -> None:
    now = replace(MANIFEST, policies={"a": PolicyRecord(ref="elsewhere/a", hash="1")})
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


def test_an_adapter_is_part_of_its_policy(tmp_path: Path) -> None:
    ref = f"zero?action_dim=3&adapter={tmp_path}"
    said = []
    for card in ("one", "two", "two"):
        (tmp_path / "adapter.json").write_text(card)
        said.append(fingerprint(ref))
    assert said[0] != said[1] == said[2]


def test_a_servers_policy_is_known_by_what_it_says_of_its_files() -> None:
    service = PolicyService(Echo(), content="one")
    with serving(service) as (url, server):
        first = fingerprint(url)
        assert first is not None
        assert (
            first == fingerprint(f"{url}?timeout=5") != fingerprint(f"{url}?space=joint-position")
        )
        server._metadata = pack({**service.metadata, "content": "two"})
        assert fingerprint(url) not in (first, None)
        server._metadata = pack({**service.metadata, "content": ""})
        assert fingerprint(url) is None


def test_what_was_unknown_is_not_said_to_have_changed_and_what_became_unknown_is() -> None:
    then = replace(MANIFEST, policies={"b": PolicyRecord(ref="ws://host", hash="1")})
    assert then.changed(MANIFEST) == []
    assert then.with_earlier(MANIFEST, RUN, redo=False).policies["b"].hash == "1"
    with pytest.raises(UserError, match="its content was 1, now unknown"):
        MANIFEST.with_earlier(then, RUN, redo=False)


def test_a_run_from_before_a_choice_was_offered_made_none() -> None:
    offered = {**MANIFEST.protocol, "sampler_steps": None, "guided": None}
    now = replace(MANIFEST, protocol=offered)
    assert now.with_earlier(MANIFEST, RUN, redo=False) == now
    chosen = replace(MANIFEST, protocol={**offered, "sampler_steps": 4})
    with pytest.raises(UserError, match="sampler_steps None, now 4"):
        chosen.with_earlier(MANIFEST, RUN, redo=False)
