"""LeRobot in an environment of its own: started when it is needed, with the stand-in for it."""

import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.policy.test_lerobot import STANDINS, checkpoint, driven, moments
from worldeval.errors import UserError
from worldeval.policy.load import load_policy
from worldeval.policy.remote import beside
from worldeval.policy.remote.policy import RemotePolicy


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python that finds LeRobot, which this one does not."""
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    path = os.pathsep.join([str(STANDINS), str(Path(__file__).parents[2])])
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{path}" exec "{sys.executable}" "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv(beside.PLACE, str(tmp_path / "venv"))
    monkeypatch.delenv(beside.SERVER, raising=False)
    return tmp_path


def test_a_checkpoint_runs_beside_and_acts_the_same(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"n_obs_steps": 2, "n_action_steps": 3, "noise": 0.1}
    run = environment / "run" / "checkpoints" / "0100"
    folder = checkpoint(run / "pretrained_model", "diffusion", **settings)
    shown = moments()
    there = load_policy(f"lerobot:{folder}?name=x")
    spec = there.spec
    assert (spec.name, spec.lineage, spec.step, spec.history) == ("x", "run", 100, 2)
    taken = driven(there, shown, [5, 6, 7])
    again = load_policy(f"lerobot:{folder}")  # the same server
    assert isinstance(again, RemotePolicy) and again.spec.name == "run/0100"
    with pytest.raises(UserError, match="does not resize"):
        other = checkpoint(environment / "other", "act", image=(3, 12, 16))
        driven(load_policy(f"lerobot:{other}"), shown, [5, 6, 7])
    monkeypatch.syspath_prepend(str(STANDINS))
    here = load_policy(f"lerobot:{folder}")
    np.testing.assert_allclose(driven(here, shown, [5, 6, 7]), taken, atol=1e-6)
    for name in [name for name in sys.modules if name.split(".")[0] == "lerobot"]:
        del sys.modules[name]


def test_an_environment_that_is_not_there_is_said_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(beside.PLACE, raising=False)
    monkeypatch.delenv(beside.SERVER, raising=False)
    with pytest.raises(UserError, match=r"no environment for it at .venv-lerobot.*env lerobot"):
        load_policy("lerobot:somebody/act")


def test_a_server_that_does_not_start_says_why(environment: Path) -> None:
    python = environment / "venv" / "bin" / "python"
    python.write_text("#!/bin/sh\necho 'ImportError: no numpy here' >&2\n")
    with pytest.raises(UserError, match="did not start: ImportError: no numpy here"):
        load_policy("lerobot:somebody/act")
