"""Whatever a policy does, it is that policy's error alone."""

import json
from pathlib import Path

import pytest
from toy_run import make_run

from worldeval.cli import app
from worldeval.errors import UserError
from worldeval.evaluate.policies import policy_specs
from worldeval.evaluate.workers.jobs import BatchDone, BatchFailed, Job, by_task
from worldeval.evaluate.workers.local import Processes
from worldeval.evaluate.workers.spread import Foreman
from worldeval.evaluate.workers.worker import Setup, Worker
from worldeval.recipe import load
from worldeval.rollout.starts import read_starts

HERE = "tests.policy.unruly"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("toy")


@pytest.fixture(scope="module")
def setup(home: Path) -> Setup:
    recipe = load(str(make_run(home, policies=["a/step-1"], starts=2)), "protocol").config
    return Setup(
        recipe=recipe, starts=by_task(read_starts(home / "starts.h5"), recipe.tasks), seed=0
    )


def job(name: str) -> Job:
    return Job(name=name, ref=f"{HERE}:{name}", policy=name, starts=(0, 1))


def test_sys_exit_is_an_error_of_its_policy(setup: Setup) -> None:
    """Also in the process that ranks: its status is not the policy's to give."""
    failed = Worker(setup)(job("Exits"))
    assert isinstance(failed, BatchFailed) and not failed.mistake
    assert failed.error == "the policy raised SystemExit(0)"


def test_a_policy_that_ends_or_hangs_its_process_costs_its_own_episodes(setup: Setup) -> None:
    names = ["Hangs", "Leaves", "Interrupts", "well"]
    crew = Processes(1, Worker, setup, policy_timeout=1.0)
    with Foreman(crew) as foreman:
        results = {one.job.name: one for one in foreman.run(iter([job(name) for name in names]))}
    assert isinstance(results["well"], BatchDone)
    hangs, leaves = results["Hangs"], results["Leaves"]
    assert isinstance(hangs, BatchFailed) and hangs.hung
    assert hangs.error.startswith("the policy did not answer within 1 s; increase --policy-timeout")
    assert isinstance(leaves, BatchFailed) and "a process ended with status 0" in leaves.error
    assert isinstance(results["Interrupts"], BatchFailed)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("exits_while_loading", r"raised SystemExit\(0\)"),
        ("leaves_while_loading", "a process ended with status 0"),
        ("hangs_while_loading", "did not answer within 3 s"),
    ],
)
def test_a_policy_that_breaks_while_it_is_loaded_is_named(name: str, said: str) -> None:
    with pytest.raises(
        UserError, match=rf"Policy {HERE}:{name} raised an error while it was loaded: .*{said}"
    ):
        policy_specs([f"{HERE}:well", f"{HERE}:{name}"], policy_timeout=3.0)


def test_a_ranking_goes_on_without_the_policy_that_left(home: Path, setup: Setup) -> None:
    from typer.testing import CliRunner

    command = ["rank", str(home / "toy.yaml"), "--films", "0", "--jobs", "1", "--json"]
    for ref in (str(home / "policies/a/step-1"), f"{HERE}:Leaves?name=leaves"):
        command += ["--policies", ref]
    done = CliRunner().invoke(app, [*command, "--out", str(home / "run")])
    assert done.exit_code == 1, done.output  # some episodes have no outcome
    summary = json.loads((home / "run/summary.json").read_text())
    assert list(summary["errors"]) == ["leaves"]
