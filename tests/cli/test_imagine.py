"""`worldeval imagine` on a toy: how frames are drawn is the user's choice, and the run keeps it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_run import SPEC, make_judge, make_run
from typer.testing import CliRunner, Result

from tests.support.toy import toy_shards
from worldeval.cli import app
from worldeval.errors import UserError
from worldeval.record import Rollout
from worldeval.runs.store import RolloutStore
from worldeval.world.load import new_world, save_world
from worldeval.world.recipe import ActuationRecipe, KinematicsRecipe, TokenizerRecipe
from worldeval.world.uwm.recipe import UwmRecipe

UWM = UwmRecipe(
    width=32,
    depth=1,
    heads=2,
    registers=2,
    channels=8,
    chunk=3,
    times=20,
    policy_steps=3,
    tokenizer=TokenizerRecipe(widths=(8, 16), channels=4),
    actuation=ActuationRecipe(scale=0.05, low=(-1, -1, -1), high=(1, 1, 1)),
    kinematics=KinematicsRecipe(width=16, depth=1, sight=4),
)


@pytest.fixture(scope="module")
def latent(tmp_path_factory) -> Path:
    """The protocol of a toy whose world model has no sampler."""
    return make_run(tmp_path_factory.mktemp("latent"), policies=["a/step-1"], starts=2, horizon=4)


@pytest.fixture(scope="module")
def uwm(tmp_path_factory) -> Path:
    """The same in a world model that draws actions and frames."""
    home = tmp_path_factory.mktemp("uwm")
    protocol = make_run(home, policies=["a/step-1"], starts=2, horizon=4)
    torch.manual_seed(0)
    world = new_world("uwm", SPEC, UWM)
    with torch.no_grad():
        for weight in world.parameters():
            weight.add_(0.1 * torch.randn(weight.shape))
    save_world(home / "world", world, UWM, kind="uwm", notes={})
    make_judge(home / "judge", home / "world")
    return protocol


def run(verb: str, protocol: Path, out: Path, *more: str) -> Result:
    words = [verb, str(protocol), "--out", str(out), "--jobs", "1", "--json", *more]
    return CliRunner().invoke(app, words)


def episodes(protocol: Path, out: Path, *more: str) -> list[Rollout]:
    """The four episodes that the verb leaves, by their starts."""
    done = run("imagine", protocol, out, *more)
    assert done.exit_code == 0, (done.output, done.exception)
    assert sum(row["episodes"] for row in json.loads(done.stdout)["rates"]) == 4
    found = [rollout for rollout, _ in RolloutStore(out / "imagined").rollouts()]
    return sorted(found, key=lambda rollout: rollout.start)


def refused(done: Result) -> str:
    assert isinstance(done.exception, UserError), (done.output, done.exception)
    return str(done.exception)


def apart(one: list[Rollout], other: list[Rollout], what: str) -> float:
    pairs = zip(one, other, strict=True)
    return float(np.mean([np.abs(getattr(a, what) - getattr(b, what)).mean() for a, b in pairs]))


def test_guided_episodes_lie_between_data_and_policy(uwm: Path, tmp_path: Path) -> None:
    own = episodes(uwm, tmp_path / "own")
    scales = ("0", "1", "100")
    drawn = [episodes(uwm, tmp_path / scale, "--guided", scale) for scale in scales]
    likely = [np.mean([one.trust["log_likelihood"] for one in found]) for found in drawn]
    assert likely[0] < likely[1] < likely[2]
    assert apart(drawn[2], own, "actions") < 0.2 * apart(drawn[0], own, "actions")
    assert {one.policy for found in drawn for one in found} == {"a/step-1"}
    assert all("log_likelihood" not in one.trust for one in own)


def test_a_run_keeps_how_it_was_guided(uwm: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = episodes(uwm, out, "--guided", "1", "--guided-std", "0.2")
    kept = json.loads((out / "manifest.json").read_text())["protocol"]
    assert kept["guided"] == {"scale": 1.0, "std": 0.2, "weighted": False}
    again = episodes(uwm, out, "--guided", "1", "--guided-std", "0.2")
    assert apart(first, again, "latents") == 0
    assert "guided was" in refused(run("imagine", uwm, out))
    assert "guided was" in refused(run("imagine", uwm, out, "--guided", "2"))


def test_guidance_is_refused_where_it_cannot_be(latent: Path, uwm: Path, tmp_path: Path) -> None:
    said = refused(run("imagine", latent, tmp_path / "a", "--guided", "1"))
    assert "family 'latent'" in said and "Use a `uwm` model" in said
    assert "scale -1.0 must be 0 or more" in refused(
        run("imagine", uwm, tmp_path / "b", "--guided", "-1")
    )
    alone = run("imagine", uwm, tmp_path / "c", "--guided-std", "1")
    assert "'guided.scale' is missing" in refused(alone)
    ranked = run("rank", uwm, tmp_path / "d", "--set", "guided.scale=1")
    assert "cannot rank" in refused(ranked) and not (tmp_path / "d").exists()


def test_steps_of_the_sampler_are_chosen_after_training(uwm: Path, tmp_path: Path) -> None:
    trained = episodes(uwm, tmp_path / "trained")
    same = episodes(uwm, tmp_path / "same", "--sampler-steps", str(UWM.steps))
    more = episodes(uwm, tmp_path / "more", "--sampler-steps", "5")
    assert apart(trained, same, "latents") == 0 < apart(trained, more, "latents")
    few, many = (
        episodes(uwm, tmp_path / f"joint{count}", "--guided", "1", "--sampler-steps", count)
        for count in ("3", "6")
    )
    assert apart(few, many, "actions") > 0


def test_steps_reach_the_processes_that_imagine_and_the_manifest(uwm: Path, tmp_path: Path) -> None:
    one = episodes(uwm, tmp_path / "one", "--sampler-steps", "5")
    out = tmp_path / "two"
    two = episodes(uwm, out, "--sampler-steps", "5", "--jobs", "2")
    assert apart(one, two, "latents") == 0
    assert json.loads((out / "manifest.json").read_text())["protocol"]["sampler_steps"] == 5
    assert "sampler_steps was 5, now 4" in refused(run("imagine", uwm, out, "--sampler-steps", "4"))


def test_steps_that_no_sampler_takes(latent: Path, uwm: Path, tmp_path: Path) -> None:
    for verb in ("imagine", "rank"):
        said = refused(run(verb, latent, tmp_path / f"{verb}-a", "--sampler-steps", "2"))
        assert "no such sampler" in said
        said = refused(run(verb, uwm, tmp_path / f"{verb}-b", "--sampler-steps", "21"))
        assert "takes 1 to 20" in said


def test_fidelity_is_measured_in_the_steps_asked_for(
    latent: Path, uwm: Path, tmp_path: Path
) -> None:
    data = toy_shards(tmp_path, episodes=6)

    def measured(protocol: Path, *more: str) -> Result:
        words = ["fidelity", str(protocol.parent / "world"), str(data), "--json", *more]
        return CliRunner().invoke(app, [*words, "--horizons", "1,2", "--episodes", "2"])

    found = [json.loads(measured(uwm, *more).stdout) for more in ((), ("--sampler-steps", "5"))]
    assert [each["sampler_steps"] for each in found] == [UWM.steps, 5]
    trained, chosen = (each["latents"]["h2"]["latent_mse"]["value"] for each in found)
    assert trained != chosen
    assert "no such sampler" in refused(measured(latent, "--sampler-steps", "5"))
