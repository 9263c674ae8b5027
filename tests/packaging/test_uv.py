"""The commands for uv in docs/install.md run as they stand, with the built wheel. Slow: torch."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = shutil.which("uv")
SECTION = (ROOT / "docs/install.md").read_text().partition("## With uv")[2].partition("\n## ")[0]
BLOCKS = [
    [shlex.split(line) for line in block.strip().splitlines()]
    for block in re.findall(r"(?:^    .+\n)+", SECTION, re.M)
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", home, ROOT], check=True)
    return next(home.glob("*.whl"))


def test_there_are_instructions_for_an_environment_and_for_a_project() -> None:
    assert [[words[1] for words in block] for block in BLOCKS] == [
        ["venv", "pip", "run"],
        ["init", "add", "sync", "run"],
    ]


@pytest.mark.slow
@pytest.mark.skipif(UV is None, reason="uv is not installed")
@pytest.mark.parametrize("block", BLOCKS, ids=["environment", "project"])
def test_the_instructions_work(block: list[list[str]], wheel: Path, tmp_path: Path) -> None:
    """In an empty folder: the checkout is replaced by its wheel, and the Python is this one."""
    constraints = str(ROOT / "constraints.txt")
    here = {
        ".": str(wheel),
        "PATH/TO/worldeval": str(wheel),
        "constraints.txt": constraints,
        "PATH/TO/worldeval/constraints.txt": constraints,
    }
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    dropped = ("PYTHONPATH", "VIRTUAL_ENV")
    clean = {key: value for key, value in os.environ.items() if key not in dropped}
    said = ""
    for words in block:
        command = [str(UV), *(here.get(word, word) for word in words[1:])]
        done = subprocess.run(
            command, cwd=tmp_path, env=clean | {"UV_PYTHON": python}, capture_output=True,
            text=True, timeout=1800,
        )  # fmt: skip
        assert done.returncode == 0, (words, done.stderr[-2000:])
        said = done.stdout
    assert "torch" in said  # of `worldeval doctor`
