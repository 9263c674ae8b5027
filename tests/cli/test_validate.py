"""`worldeval validate` and `worldeval plan`, as a user runs them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from worldeval.cli import app
from worldeval.errors import UserError


def write(path: Path, kind: str, value) -> Path:
    rows = [
        f"p{k},t{t},{c},{value(k, t, c)},run{k // 2}"
        for k in range(6)
        for t in range(2)
        for c in range(30)
    ]
    path.write_text("\n".join([f"policy,task,start,{kind},lineage", *rows]) + "\n")
    return path


@pytest.fixture
def sides(tmp_path: Path, rng: np.random.Generator) -> tuple[Path, Path]:
    luck = rng.random((6, 2, 30))
    real = write(tmp_path / "B.csv", "success", lambda k, t, c: int(luck[k, t, c] < (k + 0.5) / 6))
    predicted = write(
        tmp_path / "A.csv", "score",
        lambda k, t, c: 0.2 + 0.6 * float(luck[k, t, c] < (k + 0.5) / 6),
    )  # fmt: skip
    return predicted, real


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_json_figure_and_keys(sides: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("validate", "--predicted", sides[0], "--real", sides[1], "--out", out, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert {
        "pearson", "spearman", "kendall", "mmrv", "pairwise_accuracy", "top1_regret", "ceiling",
        "findings",
    } <= set(found)  # fmt: skip
    assert found["pearson"]["value"] == pytest.approx(1.0)
    assert all(set(f) == {"code", "severity", "text"} for f in found["findings"])
    assert set(found["details"]["without_lineage"]) == {"run0", "run1", "run2"}
    assert found["details"]["paired_starts"] == 360
    assert json.loads((out / "agreement.json").read_text()) == found
    assert (out / "agreement.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_shows_the_ceiling(sides: tuple[Path, Path], tmp_path: Path) -> None:
    done = run("validate", "--predicted", sides[0], "--real", sides[1], "--out", tmp_path / "out")
    assert done.exit_code == 0
    assert "perfect binary" in done.stdout
    assert "MMRV" in done.stdout


def test_a_refusal_is_the_first_line_and_exits_0(sides: tuple[Path, Path], tmp_path: Path) -> None:
    same = write(tmp_path / "same.csv", "score", lambda k, t, c: 1)
    done = run("validate", "--predicted", same, "--real", sides[1], "--out", tmp_path / "out")
    assert done.exit_code == 0
    assert done.stdout.startswith("NOT A RANKING (correlation_undefined)")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("p5,", "p9,"), "policy 'p9' is in the predicted outcomes"),
        (lambda text: text + text.splitlines()[5] + "\n", "line 362 repeats"),
        (lambda text: text.replace("p0,t0,0,0", "p0,t0,0,7"), "line 2: score is 7"),
        (lambda text: "\n".join(text.splitlines()[:1]) + "\n", "has no rows"),
    ],
)
def test_bad_input_is_named(sides: tuple[Path, Path], tmp_path: Path, change, message) -> None:
    sides[0].write_text(change(sides[0].read_text()))
    done = run("validate", "--predicted", sides[0], "--real", sides[1], "--out", tmp_path / "out")
    assert isinstance(done.exception, UserError)
    assert message in str(done.exception)


def test_bad_input_exits_2_and_nothing_imports_torch(
    sides: tuple[Path, Path], tmp_path: Path
) -> None:
    code = (
        "import sys; from worldeval.cli import main\n"
        "try: main()\n"
        "finally: assert 'torch' not in sys.modules, 'torch was imported'\n"
    )

    def call(*words: object) -> subprocess.CompletedProcess:
        command = [sys.executable, "-c", code, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    out = ("--out", tmp_path / "out")
    fine = call("validate", "--predicted", sides[0], "--real", sides[1], *out)
    assert fine.returncode == 0, fine.stderr
    wrong = call("validate", "--predicted", tmp_path / "none.csv", "--real", sides[1], *out)
    assert wrong.returncode == 2 and "none.csv does not exist" in wrong.stderr


def test_plan(tmp_path: Path) -> None:
    done = run("plan", "--policies", 8, "--gap", 0.1, "--power", 0.8, "--json")
    assert json.loads(done.stdout)["real"] == 1210
    table = run("plan", "--policies", 8, "--gap", 0.1, "--rho", 0.7, "--cost-ratio", 100)
    assert table.exit_code == 0 and "and imagined" in table.stdout


def test_more_predicted_than_real_starts_are_combined(
    sides: tuple[Path, Path], tmp_path: Path
) -> None:
    lines = sides[1].read_text().splitlines()
    few = [lines[0], *(line for line in lines[1:] if int(line.split(",")[2]) < 10)]
    sides[1].write_text("\n".join(few) + "\n")
    words = ("validate", "--predicted", sides[0], "--real", sides[1], "--out", tmp_path / "out")
    found = json.loads(run(*words, "--json").stdout)["details"]["combined"]["p3"]
    assert (found["real_starts"], found["imagined_starts"]) == (20, 40)
    assert (
        0 < found["trials_saved"] < 40
    )  # the twin is right about every pair, of which few are seen
    assert "real trials saved" in run(*words).stdout
