"""Addresses: which policy, and with which parameters."""

from pathlib import Path

import pytest

from worldeval.errors import UserError
from worldeval.policy.address import read_address, read_params, refuse_code, with_params
from worldeval.policy.load import expand, load_policy


@pytest.mark.parametrize(
    ("ref", "kind", "place", "params"),
    [
        ("runs/bc/step-4", "checkpoint", "runs/bc/step-4", {}),
        ("runs/bc/step-?", "checkpoint", "runs/bc/step-?", {}),
        ("runs/bc/step-4?adapter=a/b", "checkpoint", "runs/bc/step-4", {"adapter": "a/b"}),
        ("zero?chunk=4", "built-in", "zero", {"chunk": 4}),
        ("a.b:C?size=0.5&on=true", "code", "a.b:C", {"size": 0.5, "on": True}),
        ("./f.py:make?views=[side, top]", "code", "./f.py:make", {"views": ["side", "top"]}),
        ("ws://h:80?keys=a=b;c=d:2+e:1", "server", "ws://h:80", {"keys": "a=b;c=d:2+e:1"}),
        ("wss://h", "server", "wss://h", {}),
        ("lerobot:user/act", "lerobot", "lerobot:user/act", {}),
        ("old/model.ckpt", "pickle", "old/model.ckpt", {}),
    ],
)
def test_an_address_is_taken_apart_and_put_together(ref, kind, place, params) -> None:
    address = read_address(ref)
    assert (address.kind, address.place, dict(address.params)) == (kind, place, params)
    assert read_address(str(address)) == address


def test_more_parameters_are_laid_over_an_address() -> None:
    ref = with_params("a.b:C?size=0.5&chunk=1", read_params(["size=2", "name=x y", "views=[a, b]"]))
    assert read_address(ref).params == {"size": 2, "chunk": 1, "name": "x y", "views": ["a", "b"]}
    assert load_policy("zero?chunk=4&action_dim=3", {"chunk": 2}).spec.chunk == 2


def test_addresses_with_parameters_are_no_globs() -> None:
    refs = ["ws://h:80?name=x", "./mine.py:make?chunk=4", "zero?chunk=2"]
    assert expand(refs) == refs


@pytest.mark.parametrize("wrong", ["size", "=3", "a=[1"])
def test_a_parameter_that_is_none(wrong: str) -> None:
    with pytest.raises(
        UserError, match=r"The parameter '.*' (must look like key=value|has an unreadable value)"
    ):
        read_params([wrong])


def test_a_recipe_runs_no_code(tmp_path: Path) -> None:
    for ref in ("os:system?command=true", "./mine.py:make"):
        with pytest.raises(UserError, match=r"mine.yaml names Python code .*--policies"):
            refuse_code(["zero", ref], tmp_path / "mine.yaml")
    refuse_code(["zero", "runs/bc/*", "ws://h:80?name=x", "lerobot:user/act"], tmp_path)


def test_any_address_can_say_what_it_is_called_and_how_its_chunks_are_used(tmp_path: Path) -> None:
    spec = load_policy("random?chunk=4&name=010000&lineage=NA&step=7&replan_every=3").spec
    assert (spec.name, spec.lineage, spec.step) == ("010000", "NA", 7)
    assert (spec.replan, spec.replan_said_by) == (3, "replan_every= of its address")
    stacked = load_policy("zero?action_dim=4&chunk=11&steps_per_frame=5").spec
    assert (stacked.action_dim, stacked.chunk) == (20, 2)
    assert load_policy("zero?fps=50").spec.fps == 50
    assert load_policy("zero?action_dim=4&chunk=11&steps_per_frame=5&fps=50").spec.fps == 10
    for wrong in ("0", "true", "fast"):
        with pytest.raises(UserError, match="must be the policy's actions per second"):
            load_policy(f"zero?fps={wrong}")
    code = tmp_path / "mine.py"
    code.write_text(
        "from worldeval.policy.builtin import Zero\n"
        "def make(name):\n"
        "    return Zero(chunk=len(name))\n"
    )
    own = load_policy(f"{code}:make?name=abc").spec
    assert (own.name, own.chunk) == ("abc", 3)  # the code's own parameter, and what it is called
    with pytest.raises(UserError, match="step=-1 must be an integer of at least 0"):
        load_policy("zero?step=-1")
    with pytest.raises(
        UserError, match="a world frame lasts 5 steps and has no observation in between"
    ):
        load_policy("zero?action_dim=4&chunk=2&steps_per_frame=5")


def test_lerobots_own_server_is_refused_with_the_reason() -> None:
    with pytest.raises(UserError, match=r"uses Python pickles.*serve-policy"):
        load_policy("grpc://host:8080")


def test_a_parameter_that_yaml_reads_as_no_text_is_refused(tmp_path: Path) -> None:
    """`called=off` made a lineage of False: a traceback after everything had been simulated."""
    file = tmp_path / "mine.py"
    file.write_text(
        "from worldeval.policy.builtin import Zero\n"
        "def make(called: str = 'mine'):\n"
        "    assert called in ('off', 'mine')\n"
        "    return Zero(action_dim=1, chunk=1)\n"
    )
    for said in ("off", "1", "yes"):
        with pytest.raises(UserError, match=r"called is .* not text.*quote it: called='"):
            load_policy(f"{file}:make?called={said}")
    load_policy(f"{file}:make?called='off'")
    load_policy(f"{file}:make")
