"""`rank` checks the interfaces of policies first, and `check_policies` does nothing else."""

import json
from pathlib import Path

import numpy as np
import pytest
from toy_run import ACTION, SIZE, TASKS, make_run
from typer.testing import CliRunner

import worldeval as we
from worldeval.cli import app
from worldeval.data.formats.shards.layout import ShardEpisode, write_shard
from worldeval.record import Episode
from worldeval.runs.interface_checks import read_interface_checks

FRAMES = 6
# The demonstrators do what the red of the picture says, and so does this policy, with its own idea
# of which channel is red.
POLICY = f"""
import numpy as np
from worldeval.policy.protocol import PolicySpec

class Reads:
    def __init__(self, channel: int = 0):
        self._channel = channel
        self.spec = PolicySpec(name=f"reads-{{channel}}", lineage="reads", step=0,
                               views=("side", "top"), action_dim={ACTION}, chunk=1)
    def reset(self, tasks, seeds):
        pass
    def act(self, observation):
        shade = observation.frames["side"][..., self._channel].mean((1, 2)) / 127.5 - 1
        return np.tile(shade[:, None, None], (1, 1, {ACTION})).astype(np.float32)
"""


def recorded(folder: Path) -> Path:
    """Episodes in pictures of random colours."""
    rng, items = np.random.default_rng(0), []
    for number in range(12):
        colour = rng.integers(0, 256, (FRAMES, 1, 1, 3), np.uint8)
        frames = np.broadcast_to(colour, (FRAMES, SIZE, SIZE, 3)).copy()
        shade = colour[:, 0, 0, :1].astype(np.float32) / 127.5 - 1
        episode = Episode(
            id=f"e{number}",
            frames={"side": frames, "top": frames},
            actions=np.tile(shade, (1, ACTION)),
            pose=rng.normal(size=(FRAMES, 4)).astype(np.float32),
            task=TASKS[number % 2],
            success=True,
            fps=16.0,
        )
        items.append(ShardEpisode(episode=episode, flags=np.ones(FRAMES, np.uint8), seed=number))
    write_shard(folder / "a.h5", items)
    return folder


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("interfaces")
    make_run(home, policies=("a/step-1",), starts=2, horizon=2)
    recorded(home / "data")
    (home / "mine.py").write_text(POLICY)
    return home


def policy(toy: Path, channel: int) -> str:
    return f"{toy}/mine.py:Reads?channel={channel}"


def test_the_change_that_makes_a_policy_agree_is_returned(toy: Path) -> None:
    sound, misread = we.check_policies([policy(toy, 0), policy(toy, 2)], toy / "data")
    assert sound.changes == ()
    assert misread.changes == ("bgr",)
    assert "red and blue are swapped" in misread.text
    assert json.loads(json.dumps(misread.to_json()))["changes"] == ["bgr"]


def test_the_command_line_names_it_and_exits_with_1(toy: Path) -> None:
    words = ["policy", "check", policy(toy, 2), "--data", str(toy / "data")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1, done.output
    assert "It agrees with the demonstrators if red and blue are swapped" in done.output
    assert "not tried: action-gripper" in done.output
    words = ["policy", "check", policy(toy, 0), "--data", str(toy / "data"), "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)[0]["changes"] == []


def ranked(toy: Path, out: Path, *more: str) -> dict:
    named = [part for channel in (0, 2) for part in ("--policies", policy(toy, channel))]
    words = ["rank", str(toy / "toy.yaml"), *named, "--out", str(out), "--films", "0"]
    done = CliRunner().invoke(app, [*words, "--jobs", "1", "--json", *more])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def misread(summary: dict) -> list[str]:
    return [each["text"] for each in summary["findings"] if each["code"] == "policy_misread"]


def test_rank_warns_of_a_misread_policy_and_keeps_it(toy: Path, tmp_path: Path) -> None:
    summary = ranked(toy, tmp_path / "run", "--data", str(toy / "data"))
    (text,) = misread(summary)
    assert text.startswith("reads-2 is probably run through a wrong interface")
    kept = read_interface_checks(tmp_path / "run")
    assert (kept["reads-0"].misread, kept["reads-2"].misread) == ("", text)
    refusals = [each["severity"] for each in summary["findings"]].count("refusal")
    assert summary["findings"][refusals]["code"] == "policy_misread"
    again = ranked(toy, tmp_path / "run", "--data", str(toy / "data"))
    assert misread(again) == [text]


def test_rank_checks_nothing_without_recordings_or_if_told_not_to(
    toy: Path, tmp_path: Path
) -> None:
    assert misread(ranked(toy, tmp_path / "none")) == []
    told = ranked(toy, tmp_path / "told", "--data", str(toy / "data"), "--no-check")
    assert misread(told) == []
    assert not read_interface_checks(tmp_path / "told")


def test_live_policies_are_checked_too(toy: Path) -> None:
    result = we.rank(
        we.load_policy(policy(toy, 2)), toy / "world", toy / "judge", toy / "starts.h5",
        horizon=2, data=toy / "data", progress=False,
    )  # fmt: skip
    assert "policy_misread" in [found.code for found in result.findings]
