"""`worldeval film`: what it makes, and how mistakes end."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.support.imagined_run import imagined_run
from worldeval.cli import film
from worldeval.errors import UserError


def invoke(*words: str | Path):
    app = typer.Typer()
    film.register(app)
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return imagined_run(tmp_path_factory.mktemp("runs"), starts=2)


def test_named_and_drawn_episodes_are_filmed(run: Path) -> None:
    done = invoke(run, "--draw", "3", "--json", "--", "zero/left-0/0")
    assert done.exit_code == 0, done.exception
    made = json.loads(done.stdout)
    assert [each["drawn"] for each in made] == [False, True, True, True]
    assert (run / "filmstrips/index.json").is_file()


def test_nothing_asked_for_is_a_user_error(run: Path) -> None:
    assert "--draw 20" in str(invoke(run).exception)
    assert isinstance(invoke(run, "nobody/left-0/0").exception, UserError)
