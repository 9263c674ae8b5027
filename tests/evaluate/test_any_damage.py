"""Any file of a finished run, damaged anywhere: every command that reads runs ends well or in one
line."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from benchmarks.toy_run import make_run
from tests.runs.test_damage import viewer
from worldeval.cli import app
from worldeval.errors import UserError

ONE_LINE = (UserError, OSError, UnicodeError)  # what the command line tells in one line
FEW = settings(
    max_examples=12,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def command(*words: str | Path) -> None:
    """A command of worldeval, in this process; raises what its `main` would have to catch."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception


def rank(run: Path) -> None:
    command("rank", run.parent / "toy/toy.yaml", "--out", run, "--films", "0", "--jobs", "1")


def report(run: Path) -> None:
    command("report", run)


def export(run: Path) -> None:
    command("export", run, "--out", run.parent / "dataset")


def merge(run: Path) -> None:
    command("merge", run, "--out", run.parent / "merged")


def film(run: Path) -> None:
    command("film", run, "--draw", "1")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished ranking, beside which `toy/` holds what it is made of."""
    home = tmp_path_factory.mktemp("damage")
    make_run(home / "toy", policies=("a/step-1", "b/step-1"), starts=2, batch=2, horizon=3)
    run = home / "run"
    rank(run)
    command("film", run, "--draw", "1")
    for verb in (rank, report, export, merge, film, viewer):
        verb(run)
    return run


def damaged(content: bytes, how: str, share: float, width: int) -> bytes:
    """A bit turned, the end cut off, or a stretch of zeros, `share` of the way into the file."""
    place = min(int(share * len(content)), max(len(content) - 1, 0))
    if how == "truncate":
        return content[:place]
    if how == "zero":
        return content[:place] + bytes(min(width, len(content) - place)) + content[place + width :]
    bit = bytes([content[place] ^ (1 << width % 8)]) if content else b""
    return content[:place] + bit + content[place + 1 :]


@pytest.mark.parametrize("verb", [report, rank, export, merge, film, viewer])
def test_every_command_ends_well_or_in_one_line(
    finished: Path, tmp_path: Path, verb: Callable[[Path], None]
) -> None:
    files = sorted(path for path in finished.rglob("*") if path.is_file())
    refused = 0

    @FEW
    @given(
        file=st.sampled_from(files),
        how=st.sampled_from(("flip", "truncate", "zero")),
        share=st.floats(0, 1, exclude_max=True),
        width=st.integers(1, 200),
    )
    def check(file: Path, how: str, share: float, width: int) -> None:
        nonlocal refused
        home = tmp_path / "again"
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(finished, home / "run")
        (home / "toy").symlink_to(finished.parent / "toy")
        place = home / "run" / file.relative_to(finished)
        place.write_bytes(damaged(place.read_bytes(), how, share, width))
        try:
            verb(home / "run")
        except ONE_LINE as error:
            refused += 1
            assert "\n" not in str(error), str(error)

    check()
    assert refused > 0
