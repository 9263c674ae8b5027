"""`worldeval report`: files, JSON and mistakes."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.support.synthetic_run import synthetic_run
from worldeval.cli import report
from worldeval.errors import UserError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_run(tmp_path_factory.mktemp("runs") / "demo")


def invoke(*words: str | Path):
    app = typer.Typer()
    report.register(app)
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_report_stands_in_the_run_and_its_headline_is_printed(run: Path) -> None:
    done = invoke(run)
    assert done.exit_code == 0, done.output
    assert (run / "report/index.html").is_file()
    assert "bc-all@2400 leads" in done.stdout


def test_json_is_the_whole_of_stdout(run: Path, tmp_path: Path) -> None:
    done = invoke(run, "--json", "--markdown", "--out", tmp_path, "--picture", tmp_path / "p.png")
    said = json.loads(done.stdout)
    assert Path(said["report"]) == tmp_path / "report.md"
    assert Path(said["picture"]).is_file()
    assert said["policies"][0]["policy"] == "bc-all@2400"
    assert said["headline"]["refused"] is False
    assert {each["name"] for each in said["agreement"]} >= {
        "Imagination",
        "Perfect binary evaluator, same number of starts",
    }


def test_out_may_name_the_file(run: Path, tmp_path: Path) -> None:
    assert invoke(run, "--out", tmp_path / "mine.html", "--embed").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["mine.html"]


def test_figures_and_tables_are_written_beside_the_page(run: Path, tmp_path: Path) -> None:
    done = invoke(run, "--figures", "svg, pdf", "--tables", "csv", "--out", tmp_path, "--json")
    said = json.loads(done.stdout)
    assert {Path(name).suffix for name in said["figures"]} == {".svg", ".pdf"}
    assert all(Path(name).parent == tmp_path / "tables" for name in said["tables"])
    assert all(Path(name).is_file() for name in (*said["figures"], *said["tables"]))


@pytest.mark.parametrize(
    "words",
    [
        ("gone",),
        (".", "--markdown", "--out", "x.html"),
        (".", "--figures", "svgz"),
        (".", "--tables", "csv,xls"),
    ],
)
def test_a_mistake_is_a_user_error(run: Path, words: tuple[str, ...]) -> None:
    done = invoke(run if words[0] == "." else run / words[0], *words[1:])
    assert isinstance(done.exception, UserError)
