"""The verbs of improvement on the dot, with every simulator out of reach."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
import yaml
from typer.testing import CliRunner

from tests.improve.conftest import UNDECIDED, DotJudge, DotWorld, start
from tests.support.toy import toy_shards
from worldeval.cli import improve
from worldeval.data.table import read_table
from worldeval.errors import UserError
from worldeval.files import write_json
from worldeval.improve.wrapped import write_policy
from worldeval.policy.load import load_policy
from worldeval.policy.recipe import Lineage
from worldeval.policy.train import train
from worldeval.rollout.loop import imagine

VERBS = ("sft", "rl", "search", "compose", "pa", "qgf", "expo", "sac")
PLACE = {"horizon": 6, "held_out": 6, "check": 3, "batch": 32, "replays": ""}
SFT = {
    "kind": "improve-sft",
    **PLACE,
    "rounds": 1,
    "starts": 4,
    "tries": 2,
    "trust": {"probability": 0.05},
    "trainer": {"steps": 3, "batch": 8},
}
RL = {
    "kind": "improve-rl",
    **PLACE,
    "iterations": 2,
    "episodes": 8,
    "check_every": 1,
    "critic_warmup": 0,
}
SEARCH = {"kind": "improve-search", **PLACE, "held_out": 2, "candidates": 2, "lookahead": 2}
VALUE = {
    **PLACE,
    "leave_out": False,
    "iterations": 1,
    "episodes": 8,
    "recorded": 2,
    "critic": {"hidden": 16, "batch": 32},
    "critic_steps": 3,
    "samples": 2,
}
PA = {"kind": "improve-pa", **VALUE, "best": 1, "trainer": {"steps": 3, "batch": 8}}
QGF = {"kind": "improve-qgf", **VALUE, "weights": [3.0], "tuning": 2}
EXPO = {"kind": "improve-expo", **VALUE, "hidden": 16, "actor_steps": 3}
SAC = {"kind": "improve-sac", **VALUE, "hidden": 16, "actor_steps": 3}
COMPOSE = {"kind": "improve-compose", **PLACE, "starts": 3, "weights": [0.0, 0.5]}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_shards(tmp_path_factory.mktemp("data"), episodes=24)


@pytest.fixture(scope="module")
def policies(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    from dataclasses import replace

    from worldeval.policy.recipe import PolicyTrainerRecipe

    out, made = tmp_path_factory.mktemp("policies"), []
    for head in ("diffusion", "flow"):
        recipe = replace(UNDECIDED, head=head, trainer=PolicyTrainerRecipe(steps=20, warmup=2))
        (done,) = train(recipe, Lineage(name=head, seed=1), read_table(data), out)
        made.append(str(done.folder))
    return made


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    """The verbs in the dot's world. Making an environment or importing a simulator is an error."""
    from worldeval.improve import opening, wrapped

    for module in (opening, wrapped):
        monkeypatch.setattr(module, "load_world", lambda folder: DotWorld())
        monkeypatch.setattr(module, "load_judge", lambda folder: DotJudge())
    monkeypatch.setattr(opening, "world_hash", lambda folder: "dot")
    monkeypatch.setattr("worldeval.envs.metaworld.env.MetaWorld.__init__", _no_environment)
    for name in ("metaworld", "mujoco", "gymnasium"):
        monkeypatch.setitem(sys.modules, name, None)
    wrapped._world.cache_clear()
    wrapped._judge.cache_clear()
    app = typer.Typer()
    improve.register(app)
    app.command("other")(lambda: None)
    return app


def _no_environment(*_: object, **__: object) -> None:
    raise AssertionError("improvement made an environment")


def test_the_guard_against_environments_works(command: typer.Typer) -> None:
    from worldeval.envs.metaworld.env import MetaWorld

    with pytest.raises(AssertionError, match="made an environment"):
        MetaWorld("drawer-open-v3")
    with pytest.raises(ImportError):
        import mujoco  # noqa: F401


@pytest.mark.parametrize(
    ("verb", "recipe", "count"),
    [
        ("sft", SFT, 1),
        ("rl", RL, 1),
        ("search", SEARCH, 1),
        ("compose", COMPOSE, 2),
        ("pa", PA, 1),
        ("qgf", QGF, 1),
        ("expo", EXPO, 1),
        ("sac", SAC, 1),
    ],
)
def test_a_verb_improves_without_an_environment(
    command: typer.Typer,
    data: Path,
    policies: list[str],
    tmp_path: Path,
    verb: str,
    recipe: dict,
    count: int,
) -> None:
    file, out = tmp_path / "mine.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(recipe))
    given = [word for one in policies[:count] for word in ("--policy", one)]
    args = ["improve", verb, str(file), *given, "--data", str(data), "--out", str(out), "--json"]
    done = CliRunner().invoke(command, args)
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    claim = result["claim"]
    assert set(claim) >= {"established", "text", "before", "after", "difference"}
    assert [one["code"] for one in claim["findings"]] == ["no_replay_gate"]
    assert not claim["established"] and "No recorded episode" in claim["text"]
    assert json.loads((out / "claim.json").read_text()) == result
    if verb == "sft":
        assert (out / "round-1/dataset/meta/info.json").is_file()
        assert load_policy(str(out / "policies/diffusion-sft/step-1")).spec.step == 1
    elif verb == "rl":
        rl = json.loads((out / "rl.json").read_text())
        assert [check["iteration"] for check in rl["checks"]] == [0, 1, 2]
    elif verb in ("search", "compose"):
        named = load_policy(f"{out}/policy.py:policy").spec.name
        assert named == result["improved"]
    else:
        done = json.loads((out / f"{verb}.json").read_text())
        assert [check["iteration"] for check in done["checks"]] == [0, 1]
        assert done["kept"] == result["improved"]
        # The initial policy is kept where nothing was better, and needs no code.
        kept = result["improved"] != result["origin"]
        assert (out / "policy.py").is_file() == (kept and verb != "pa")
        if verb != "pa":
            write_json(out / "kept.json", {"step": 1})
            made = load_policy(write_policy(out, verb))
            assert made.spec.name == f"diffusion-{verb}/step-1"
            starts = [start(task, 0) for task in ("left", "right")]
            actions = []
            for _ in range(2):
                rollouts = imagine(
                    DotWorld(), made, starts, horizon=4, replan_every=2, seeds=[0, 1]
                )
                actions.append([rollout.actions for rollout in rollouts])
            np.testing.assert_array_equal(*actions)


def test_a_recipe_of_another_verb_is_refused(
    command: typer.Typer, policies: list[str], tmp_path: Path
) -> None:
    args = ["improve", "sft", "improve-rl", "--policy", policies[0], "--out", str(tmp_path)]
    done = CliRunner().invoke(command, args)
    assert isinstance(done.exception, UserError)
    assert "is a recipe for `worldeval improve rl`" in str(done.exception)


def test_what_is_no_checkpoint_cannot_be_trained(
    command: typer.Typer, data: Path, tmp_path: Path
) -> None:
    args = ["improve", "sft", "--policy", "zero", "--data", str(data), "--out", str(tmp_path)]
    done = CliRunner().invoke(command, args)
    assert isinstance(done.exception, UserError)
    assert "zero is not a worldeval checkpoint" in str(done.exception)


def test_a_mixture_needs_two(command: typer.Typer, policies: list[str]) -> None:
    done = CliRunner().invoke(command, ["improve", "compose", "--policy", policies[0]])
    assert isinstance(done.exception, UserError)
    assert "a mixture is of two" in str(done.exception)


def test_the_shipped_recipes_read() -> None:
    from worldeval import recipe

    names = {path.stem for path in recipe.available("improvement")}
    assert names >= {f"improve-{verb}" for verb in VERBS}
    for name in names:
        assert recipe.load(name, "improvement").kind.startswith("improve-")
