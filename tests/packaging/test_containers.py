"""The Dockerfiles are sound, as far as that can be told without Docker."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / ".ci/docker").glob("*.Dockerfile"))
HADOLINT = Path(sys.prefix) / "bin/hadolint"


@pytest.mark.skipif(not HADOLINT.is_file(), reason="hadolint is not installed")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_dockerfile_passes_the_linter(file: Path) -> None:
    command = [HADOLINT, "--failure-threshold", "warning", file]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_there_is_one_for_cpus_and_one_for_gpus() -> None:
    assert [file.name for file in FILES] == ["cpu.Dockerfile", "cuda.Dockerfile"]
