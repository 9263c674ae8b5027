from pathlib import Path

import pytest

from worldeval.data.table import RecordedEpisodes
from worldeval.errors import UserError
from worldeval.policy.load import expand, load_policies, load_policy
from worldeval.policy.recipe import Lineage, PolicyRecipe, PolicyTrainerRecipe
from worldeval.policy.train import train

CODE = """
from worldeval.policy.builtin import Zero

def make_policy(chunk=1, action_dim=8):
    return Zero(action_dim=action_dim, chunk=chunk)

def make_nothing():
    return 3
"""


@pytest.fixture(scope="module")
def checkpoints(shards: RecordedEpisodes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("set")
    recipe = PolicyRecipe(trainer=PolicyTrainerRecipe(steps=10, save_at=(2, 10), batch=4))
    list(train(recipe, Lineage(name="plain", seed=1), shards, out))
    return out


def test_checkpoints_by_folder_glob_and_set(checkpoints: Path) -> None:
    one = load_policy(str(checkpoints / "plain" / "step-2"))
    assert one.spec.step == 2
    names = ["plain/step-2", "plain/step-10"]  # by step, not by letter
    assert [policy.spec.name for policy in load_policies([str(checkpoints)])] == names
    by_glob = load_policies([f"{checkpoints}/pl*", f"{checkpoints}/plain/step-2"])
    assert [policy.spec.name for policy in by_glob] == names


def test_built_ins_and_code(tmp_path: Path) -> None:
    assert load_policy("zero").spec.name == "zero"
    assert load_policy("random", {"action_dim": 28}).spec.action_dim == 28
    file = tmp_path / "mine.py"
    file.write_text(CODE)
    assert load_policy(f"{file}:make_policy", {"chunk": 4}).spec.chunk == 4
    assert load_policy("worldeval.policy.builtin:Zero").spec.name == "zero"
    assert expand(["zero", "./mine.py:make_policy"]) == ["zero", "./mine.py:make_policy"]


@pytest.mark.parametrize(
    ("ref", "params", "said"),
    [
        ("zeros", {}, "Did you mean 'zero'"),
        ("random", {"sized": 1}, "sized"),
        ("{set}/plain/step-3", {}, "Did you mean 'step-"),
        ("{set}/plan/step-2", {}, "Did you mean 'plain'"),
        ("{set}/plain", {}, "contains 2 checkpoints"),
        ("{set}/plain/step-2", {"chunk": 1}, "no parameters"),
        ("{set}/plain/step-2/policy.pt", {}, "--trust-pickle"),
        ("worldeval.policy.builtin:Zeros", {}, "Did you mean 'Zero'"),
        ("nowhere_at_all:Zero", {}, "no module 'nowhere_at_all'"),
        ("{set}/absent.py:make_policy", {}, "no file"),
        ("{file}:make_nothing", {}, "returned a int"),
    ],
)
def test_mistakes_are_answered(
    ref: str, params: dict[str, int], said: str, checkpoints: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(CODE)
    with pytest.raises(UserError, match=said):
        load_policy(ref.format(set=checkpoints, file=file), params)


def test_a_glob_without_a_match_is_an_error(checkpoints: Path) -> None:
    with pytest.raises(UserError, match="No checkpoint matches"):
        expand([f"{checkpoints}/none-*"])


def test_damaged_weights_are_named(checkpoints: Path, tmp_path: Path) -> None:
    broken = tmp_path / "step-2"
    broken.mkdir()
    for name in ("policy.json", "policy.safetensors"):
        content = (checkpoints / "plain" / "step-2" / name).read_bytes()
        (broken / name).write_bytes(content if name.endswith("json") else content[:100])
    with pytest.raises(UserError, match="is damaged"):
        load_policy(str(broken))
