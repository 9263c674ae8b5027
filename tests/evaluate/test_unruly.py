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
from worldeval.policy.load import load_policy
from worldeval.policy.protocol import Policy
from worldeval.recipe import load
from worldeval.rollout.recipe import TruthRecipe
from worldeval.rollout.simulate import TruthJob, TruthOutcome, simulate
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


FRAGILE = """
import os
import numpy as np
from worldeval.envs.protocol import EnvFrame

class Fragile:
    '''Dies of any action but nothing.'''

    views, action_dim, steps_per_frame, fps = ("top",), 8, 1, 10.0

    def reset(self, seed):
        return self.frame()

    def step(self, action, *, look=True):
        if np.any(action):
            os._exit(0)
        return self.frame(True)

    def frame(self, success=False):
        pose, picture = np.zeros(2, np.float32), np.zeros((4, 4, 3), np.uint8)
        return EnvFrame(frames={"top": picture}, pose=pose, success=success)

    def close(self):
        pass
"""


def test_a_simulator_that_one_policy_breaks_goes_on_with_the_others(tmp_path: Path) -> None:
    (tmp_path / "sim.py").write_text(FRAGILE)
    names = [f"{HERE}:{name}" for name in ("pushes", "Exits", "Leaves", "well")]
    found: list[TruthOutcome] = []
    errors: dict[str, str] = {}
    single: list[TruthOutcome] = []
    simulate(
        [TruthJob(task="t", episodes=tuple((name, 0) for name in names), load=loaded)],
        TruthRecipe(env=f"{tmp_path}/sim.py:Fragile", size=4, k=1),
        horizon=3,
        replan_every=1,
        processes=1,
        done=lambda _, outcomes: found.extend(outcomes),
        failed=errors.__setitem__,
        finished=single.append,
    )
    assert single == found
    assert [(one.policy, one.success) for one in found] == [(f"{HERE}:well", True)]
    assert [errors[name] for name in names[:3]] == [
        "The simulator failed 3 times in task 't', seed 0: a process ended with status 0.",
        "the policy raised SystemExit(0)",
        "a process ended with status 0",
    ]


def loaded(ref: str, seed: int) -> Policy:
    return load_policy(ref)
