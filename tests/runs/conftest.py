"""Runs to read."""

import shutil
from pathlib import Path

import pytest

from tests.support.synthetic_run import synthetic_run


@pytest.fixture(scope="session")
def kept_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run, made once; nobody writes into it."""
    return synthetic_run(tmp_path_factory.mktemp("runs") / "demo")


@pytest.fixture
def run(kept_run: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(kept_run, tmp_path / "demo"))
