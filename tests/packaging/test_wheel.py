"""The built wheel works in an empty environment, without extras. Slow: it installs torch."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of an environment that holds the wheel and what it depends on."""
    home = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", home, ROOT], check=True)
    venv.create(home / "venv", with_pip=True)
    python = home / "venv/bin/python"
    pip = [python, *pip[1:]]
    wheel = next(home.glob("*.whl"))
    subprocess.run(
        [*pip, "install", "--constraint", ROOT / "constraints.txt", wheel], check=True, timeout=900
    )
    return home / "venv/bin/worldeval"


def run(command: Path, *args: str, at: Path) -> str:
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [command, *args], cwd=at, env=clean, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_the_wheel_ranks_in_an_empty_environment(installed: Path, tmp_path: Path) -> None:
    assert "torch" in run(installed, "doctor", at=tmp_path)
    first, second = (f"{ROOT}/models/policies-test/bc-10/step-{step}" for step in (130, 1300))
    run(
        installed, "rank", "metaworld", "--policies", first, "--policies", second,
        "--set", "starts=2", "--set", "horizon=4", "--jobs", "1", "--films", "0",
        "--out", str(tmp_path / "run"), at=tmp_path,
    )  # fmt: skip
    assert (tmp_path / "run/summary.json").is_file()
    run(installed, "report", str(tmp_path / "run"), at=tmp_path)
    assert (tmp_path / "run/report/index.html").is_file()


@pytest.mark.slow
def test_the_wheel_holds_recipes_and_shipped_weights(installed: Path) -> None:
    wheel = next(installed.parents[2].glob("*.whl"))
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith("recipes/models/latent.yaml") for name in names)
    assert any(name.endswith(".safetensors") for name in names)
