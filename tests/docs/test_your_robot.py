"""The commands of docs/your-robot.md run as they stand, at a tiny size, on a toy robot."""

import re
import shlex
from functools import partial
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

pytest.importorskip("gymnasium")

from tests.support.reach_data import ELSEWHERE, JUDGE, TINY, driven, written
from worldeval.api import learn
from worldeval.cli import app

PAGE = Path(__file__).parents[2] / "docs/your-robot.md"
FAST = {
    "learn": ["--jobs", "1", *(w for k, v in TINY.items() for w in ("--set", f"{k}={v}"))],
    "rank": ["--jobs", "1", "--films", "0", "--starts", "2"],
}
# What needs a checkpoint, another simulator or an hour -> the same kind of thing here.
HERE = {
    "lerobot:outputs/*/checkpoints/*": "random?action_dim=2&views=[front,wrist]&step_dim=2",
    "gym:gym_pusht/PushT-v0?obs_type=pixels_agent_pos&views=image:pixels": ELSEWHERE,
}
POLICY = """\
from worldeval.policy.builtin import Zero


def make():
    return Zero(action_dim=2, chunk=2, views=("front", "wrist"))
"""


def commands() -> list[list[str]]:
    """The words of every command in the page's code blocks, without `worldeval`."""
    text = re.sub(r" *\\\n +", " ", PAGE.read_text())
    return [shlex.split(line)[1:] for line in re.findall(r"^    (worldeval .+)$", text, re.M)]


def tiny(words: list[str]) -> list[str]:
    words = [HERE.get(word, word) for word in words]
    if "--minutes" in words:
        where = words.index("--minutes")
        del words[where : where + 2]
    return [*words, *FAST.get(words[0], [])]


def test_the_page_walks_the_whole_road() -> None:
    assert [words[0] for words in commands()] == [
        "data", "data", "data", "data", "learn", "rank", "rank", "next",
    ]  # fmt: skip
    said = {word for words in commands() for word in words}
    assert set(HERE) <= said  # nothing is replaced that the page no longer says


def test_every_command_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the judge's size is set from outside: `learn` has no option for it."""
    small = partial(learn.train_judge, settings=JUDGE)
    monkeypatch.setattr(learn, "train_judge", lambda *args, settings, **rest: small(*args, **rest))
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "recordings", [driven(n, good=True, source="person") for n in range(10)])
    tried = [driven(100 + n, good=bool(n % 3), source=f"policy-{n % 3}") for n in range(12)]
    written(tmp_path / "evaluations", tried)
    (tmp_path / "mine.py").write_text(POLICY)
    for words in commands():
        done = CliRunner().invoke(app, tiny(words))
        assert done.exit_code == 0, (words, done.output, done.exception)
    assert yaml.safe_load((tmp_path / "map.yaml").read_text())["pose"]["columns"]
    for made in ("lab/README.md", "runs/mine/summary.json", "runs/compared/summary.json"):
        assert (tmp_path / made).is_file()
