"""A command that is refused leaves nothing behind, and the corrected one is not held to it."""

import sys
from pathlib import Path

import pytest
from toy_run import make_run

from tests.support.toy import toy_shards
from worldeval import cli


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy with a world model, a judge, policies, starts, a protocol and data."""
    home = tmp_path_factory.mktemp("home")
    make_run(home, policies=["a/step-1", "b/step-1"], starts=2, horizon=2)
    toy_shards(home / "data", episodes=3)
    return home


def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str | Path
) -> str:
    """What the command is refused with."""
    monkeypatch.setattr(sys, "argv", ["worldeval", *map(str, words)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    said = capsys.readouterr().err.strip()
    assert caught.value.code == 2, said
    return said.splitlines()[-1]


COMMANDS = {
    "train": ("train --data HOME/nowhere", "does not exist"),
    "train, recipe": ("train --data HOME/data --set trainer.step=3", "Did you mean 'steps'"),
    "judge train": (
        "judge train --world HOME/world --data HOME/data --weak HOME/data", "contains no fold-0",
    ),
    "policy train": ("policy train policy-flow --data HOME/nowhere", "nowhere"),
    "policy train, views": (
        "policy train policy-flow --data HOME/data --set views=[front]", "front",
    ),
    "rank, world": ("rank HOME/toy.yaml --world nowhere", "worldeval train"),
    "rank, policy": ("rank HOME/toy.yaml --policies HOME/policies/c/step-1", "step-1"),
    "rank, task": ("rank HOME/toy.yaml --set tasks=[left,up]", "up"),
    "rank, real": ("rank HOME/toy.yaml --real HOME/nowhere.csv", "does not exist"),
    "rank, test": ("rank HOME/toy.yaml --test mcnema", "mcnemar"),
    "imagine": ("imagine HOME/toy.yaml --guided 1", "Use a `uwm` model"),
    "export": ("export HOME --to lerobt", "lerobot"),
    "export, run": ("export HOME/data", "recipe.yaml"),
    "improve sft": ("improve sft --policy zero --data HOME/data", "not a worldeval checkpoint"),
    "improve search": ("improve search --policy HOME/nowhere/step-1", "nowhere"),
    "improve rl": ("improve rl --policy HOME/policies/a/step-1 --task up", "up"),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_a_refused_command_leaves_nothing(
    name: str,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words, said = COMMANDS[name]
    out = tmp_path / "runs/deep/out"
    command = [*words.replace("HOME", str(home)).split(), "--out", out]
    assert said in refused(monkeypatch, capsys, *command)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_command_puts_an_earlier_run_back_as_it_was(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    words = ["worldeval", "rank", home / "toy.yaml", "--out", out, "--films", "0", "--jobs", "1"]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert not caught.value.code
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    real = tmp_path / "real.csv"
    real.write_text("policy,task,start,success\nc/step-1,left,left-0,1\n")
    capsys.readouterr()
    assert "c/step-1" in refused(monkeypatch, capsys, *words[1:], "--real", real)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["[/home]", "put the [red] cube", "[bold]x[/bold] :smile:"])
def test_names_in_square_brackets_are_printed_as_they_are(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = tmp_path / "predicted.csv"
    rows = [f"{p},{name},{s},{int(s < 3 * i)}" for i, p in enumerate("abcd") for s in range(9)]
    table.write_text("\n".join(["policy,task,start,success", *(r.replace("a,", f"{name} a,", 1)
                     if r.startswith("a,") else r for r in rows)]))  # fmt: skip
    command = ["validate", "--predicted", table, "--real", table, "--out", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", ["worldeval", *map(str, command)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert not caught.value.code
    assert f"{name} a" in capsys.readouterr().out
    missing = tmp_path / name.strip("[/]") / f"{name.replace('/', '')}.csv"
    assert str(missing) in refused(
        monkeypatch, capsys, "validate", "--predicted", missing, "--real", missing
    )
