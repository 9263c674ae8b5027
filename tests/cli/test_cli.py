"""The command as a whole: light, uniform, and clear about mistakes."""

import errno
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from worldeval import __version__, cli
from worldeval.errors import UserError

HEAVY = ("torch", "pandas", "matplotlib", "scipy", "mujoco", "h5py", "av", "pyarrow", "streamlit")


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit status of `worldeval WORDS`."""
    monkeypatch.setattr(sys, "argv", ["worldeval", *words])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


def verbs(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every verb with its full name, groups opened."""
    inner = getattr(command, "commands", {})
    if not inner:
        yield name, command
    for word, sub in inner.items():
        yield from verbs(sub, f"{name} {word}".strip())


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "sys.argv = ['worldeval', '--help']\n"
        "from worldeval.cli import main\n"
        "try:\n    main()\n"
        f"finally:\n    print('heavy:', *({HEAVY!r} & sys.modules.keys()))\n"
    ).replace(repr(HEAVY), repr(set(HEAVY)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "doctor" in done.stdout
    assert done.stdout.splitlines()[-1].split() == ["heavy:"]


def test_the_version_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"worldeval {__version__}\n"


@pytest.mark.parametrize("name", [name for name, _ in verbs(typer.main.get_command(cli.app))])
def test_every_verb_takes_json_seed_and_out_and_says_what_it_does(name: str) -> None:
    command = dict(verbs(typer.main.get_command(cli.app)))[name]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {"--json", "--seed", "--out"} <= options
    assert command.help
    assert "\n\nworldeval " in command.epilog and command.epilog.startswith("Example")
    assert all("\n" not in paragraph for paragraph in command.help.split("\n\n"))


@pytest.mark.parametrize(
    ("words", "missing", "example"),
    [
        (["plan"], "--policies", "worldeval plan --policies 5 --gap 0.1 --rho 0.6"),
        (["report"], "run", "worldeval report runs/demo"),
        (["data", "check"], "", "worldeval data check"),
    ],
)
def test_a_missing_option_is_answered_with_an_example_that_can_be_copied(
    words: list[str],
    missing: str,
    example: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, *words) == 2
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "Missing" in said and missing in said
    assert f"For example: {example}" in said


@pytest.mark.parametrize(
    "words", [["-h"], ["rank", "-h"], ["recipes", "-h"], ["data", "check", "-h"]]
)
def test_h_is_help_everywhere(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *words) == 0
    assert "Usage:" in capsys.readouterr().out


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> dict[str, BaseException]:
    """A command line whose only verb raises what the test puts here."""
    raised: dict[str, BaseException] = {}
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def verb(as_json: bool = typer.Option(False, "--json")) -> None:
        raise raised["error"]

    monkeypatch.setattr(cli, "app", app)
    return raised


def test_a_mistake_is_one_line_on_stderr_and_status_2(
    broken: dict[str, BaseException],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken["error"] = UserError("There is no [sim] recipe 'x'. " + "Long. " * 40)
    assert run(monkeypatch) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [f"error: {broken['error']}"]


def test_a_mistake_is_json_on_stdout_when_asked(
    broken: dict[str, BaseException],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken["error"] = UserError("There is no recipe 'x'.")
    assert run(monkeypatch, "--json") == 2
    assert json.loads(capsys.readouterr().out) == {"error": "There is no recipe 'x'."}


def test_an_interrupt_is_status_130(
    broken: dict[str, BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken["error"] = KeyboardInterrupt()
    assert run(monkeypatch) == 130


def test_a_bug_keeps_its_traceback_and_says_how_to_report_it(
    broken: dict[str, BaseException],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken["error"] = ZeroDivisionError("a bug")
    assert run(monkeypatch) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("Traceback") and "ZeroDivisionError: a bug" in said
    assert "report" in said[-1] and "worldeval doctor --json" in said[-1]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "runs/a/x.npz"), "free some space"),
        (OSError(errno.EROFS, "Read-only file system", "runs/a"), "another --out"),
        (PermissionError(errno.EACCES, "Permission denied", "/root/run"), "permissions"),
        (
            UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
            "Save the file as UTF-8",
        ),
    ],
)
def test_what_the_machine_refuses_is_one_line_and_status_2(
    broken: dict[str, BaseException],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    said: str,
) -> None:
    broken["error"] = error
    assert run(monkeypatch, "--json") == 2
    told = capsys.readouterr()
    assert len(told.err.splitlines()) == 1 and said in told.err
    name = getattr(error, "filename", None) or ""
    assert said in json.loads(told.out)["error"] and name in told.err


def test_a_wrong_verb_or_option_is_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "doctr") == 2
    assert run(monkeypatch, "doctor", "--jsn") == 2
    assert "doctr" in capsys.readouterr().err
