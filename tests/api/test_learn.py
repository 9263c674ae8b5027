"""From recordings of a robot that nobody tuned for to a ranking: two joints, unequal views."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("gymnasium")

import worldeval as we
from tests.support.reach_data import ELSEWHERE, FRAMES, JUDGE, TINY, driven, written
from worldeval.api.learn import learn
from worldeval.api.learn_sizes import crowded
from worldeval.cli import app
from worldeval.cli.rank import addressed
from worldeval.errors import UserError
from worldeval.evaluate.recordings import open_recordings

POLICIES = [
    "zero?action_dim=2&views=[front,wrist]",
    "random?action_dim=2&views=[front,wrist]&step_dim=2",
]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Demonstrations, and roll-outs of two policies, one of which fails."""
    home = tmp_path_factory.mktemp("recorded")
    demos = [driven(seed, good=True, source="person") for seed in range(16)]
    tried = [
        driven(100 + seed, good=bool(seed % 3), source=f"policy-{seed % 3}") for seed in range(18)
    ]
    return written(home / "demos", demos), written(home / "tried", tried)


@pytest.fixture(scope="module")
def lab(recorded: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab") / "lab"
    demos, tried = recorded
    made = learn(
        demos, folder, rollouts=[tried], settings=TINY, judge_settings=JUDGE, jobs=1, progress=False
    )
    assert made.starts >= 2
    assert made.horizon == FRAMES - 1
    return folder


def test_a_lab_holds_everything_and_says_what_it_cannot_do(lab: Path) -> None:
    assert {"world", "judge", "starts.h5", "replays.h5", "protocol.yaml", "README.md"} <= {
        path.name for path in lab.iterdir()
    }
    kept = open_recordings(lab / "recordings")
    assert {head.success for head in kept.heads} == {True}
    assert [group.names for group in kept.spec.meaning.pose] == [("j1", "j2")]
    protocol = (lab / "protocol.yaml").read_text()
    assert "recordings: recordings" in protocol
    assert "first_seed: 1000000" in protocol
    page = (lab / "README.md").read_text()
    assert "Not shown:" in page
    assert "recorded failures" in page
    spec = json.loads((lab / "world/world.json").read_text())["spec"]
    assert spec["views"] == ["front", "wrist"]
    assert spec["body"]["place"] == [0, 1]


def test_fidelity_of_joints_is_in_their_own_unit(
    lab: Path, recorded: tuple[Path, Path], tmp_path: Path
) -> None:
    """The names j1 and j2 are joints, but what an action does is nowhere said: rest is unknown."""
    done = CliRunner().invoke(
        app,
        ["fidelity", str(lab / "world"), str(recorded[0]), "--horizons", "1,4", "--episodes", "4",
         "--out", str(tmp_path / "found.json")],
    )  # fmt: skip
    assert done.exit_code == 0, (done.output, done.exception)
    assert "not measured: zeroed actions" in done.stdout
    assert "not measured: mirrored actions" in done.stdout
    assert "mm" not in done.stdout.replace("common", "")
    found = json.loads((tmp_path / "found.json").read_text())
    assert list(found["action_following"]["actions"]) == ["true", "shuffled"]
    assert found["action_following"]["inverse_dynamics"]["recorded"]["value"] > 0
    assert "place_error" in found["action_following"]["actions"]["shuffled"]["h4"]


def test_the_same_call_again_trains_nothing(lab: Path, recorded: tuple[Path, Path]) -> None:
    before = {path: path.stat().st_mtime_ns for path in lab.rglob("*.safetensors")}
    learn(
        recorded[0], lab, rollouts=[recorded[1]], settings=TINY, judge_settings=JUDGE, jobs=1,
        progress=False,
    )  # fmt: skip
    assert {path: path.stat().st_mtime_ns for path in lab.rglob("*.safetensors")} == before


def test_a_lab_that_was_moved_ranks(lab: Path, tmp_path: Path) -> None:
    """By its folder alone, with the simulator as truth by its address."""
    moved = lab.rename(tmp_path / "elsewhere")
    try:
        result = we.rank(POLICIES, protocol=str(moved), progress=False)
        assert sorted(result.policies["policy"]) == ["random", "zero"]
        assert any(found.code == "no_paired_truth" for found in result.findings)
    finally:
        moved.rename(lab)


def test_a_simulator_is_named_where_one_ranks(lab: Path, tmp_path: Path) -> None:
    """Its starts are used, at the world model's size, and the comparison is paired."""
    done = CliRunner().invoke(
        app,
        ["rank", str(lab), "--truth", ELSEWHERE, "--out", str(tmp_path / "run"), "--starts", "2",
         "--jobs", "1", "--films", "0", "--json", "--policies", POLICIES[0], "--policies",
         POLICIES[1]],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    result = we.open_run(tmp_path / "run")
    assert sorted(set(result.simulated["start"])) == sorted(set(result.episodes["start"]))
    assert set(result.simulated["success"]) <= {0, 1}
    start = we.load_starts(tmp_path / "run/starts.h5")[0]
    assert {frame.shape for frame in start.frames.values()} == {(16, 16, 3)}


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("metaworl", "is not a simulator's address. Did you mean 'metaworld'"),
        ("gym:nobody/Nothing-v0", "There is no gymnasium environment"),
        (f"{ELSEWHERE}?views=pixels/front", "views=wrist:KEY"),
        (f"{ELSEWHERE}?pose=agent_pos,goal", "gives 4 numbers of proprioception"),
        (f"{ELSEWHERE}?fps=40", "makes 40 frames per second"),
    ],
)
def test_a_simulator_that_does_not_fit_is_refused_before_anything_is_imagined(
    lab: Path, tmp_path: Path, address: str, says: str
) -> None:
    with pytest.raises(UserError, match=re.escape(says)):
        we.rank(
            POLICIES, protocol=str(lab), truth=address, out=tmp_path / "run", jobs=1,
            progress=False,
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_recorded_starts_cannot_be_simulated(lab: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="was recorded"):
        we.rank(
            POLICIES, starts=lab / "starts.h5", protocol=str(lab), truth=ELSEWHERE,
            out=tmp_path / "run", jobs=1, progress=False,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("rank.yaml --truth", ["rank.yaml", "--truth", ""]),
        ("rank.yaml --truth --out x", ["rank.yaml", "--truth", "", "--out", "x"]),
        ("--truth rank.yaml", ["--truth", "", "rank.yaml"]),
        ("rank.yaml --truth metaworld", ["rank.yaml", "--truth", "metaworld"]),
        ("--truth gym:a/B-v0 rank.yaml", ["--truth", "gym:a/B-v0", "rank.yaml"]),
    ],
)
def test_truth_with_and_without_an_address(typed: str, read: list[str]) -> None:
    assert addressed(typed.split()) == read


def test_starts_are_episodes_that_were_held_out(lab: Path, recorded: tuple[Path, Path]) -> None:
    out = lab.parent / "s.h5"
    done = CliRunner().invoke(
        app,
        ["starts", str(recorded[0]), "--world", str(lab / "world"), "--out", str(out), "--json"],
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["starts"] == len(we.load_starts(out)) >= 2


def test_without_rollouts_recordings_are_set_aside(
    recorded: tuple[Path, Path], tmp_path: Path
) -> None:
    """The demonstrations all succeed: failures are invented, and the page says so."""
    made = learn(
        recorded[0], tmp_path / "lab", settings=TINY, judge_settings=JUDGE, jobs=1, progress=False
    )
    assert made.uncalibrated
    assert made.gates is None
    assert "every rate is uncalibrated" in (made.folder / "README.md").read_text()
    ranked = we.rank(
        "zero?action_dim=2&views=[front,wrist]", protocol=str(made.folder), progress=False
    )
    assert "judge_uncalibrated" in [found.code for found in ranked.findings]


def test_minutes_size_every_stage(recorded: tuple[Path, Path], tmp_path: Path) -> None:
    from worldeval.api.learn_sizes import sized_stages
    from worldeval.data.source import open_source

    source = open_source(recorded[0])
    given = {"actuation.scale": 0.0, "held_out": 0.3}
    given |= {key: value for key, value in TINY.items() if "steps" not in key}
    steps = [
        sized_stages(source, "latent", given, minutes, tmp_path / str(minutes), jobs=1, seed=0,
               say=lambda text: None)
        for minutes in (1.0, 30.0)
    ]  # fmt: skip
    assert steps[0].keys() == {
        "tokenizer.trainer.steps",
        "kinematics.trainer.steps",
        "trainer.steps",
    }
    assert all(steps[1][key] > steps[0][key] for key in steps[0])
    fixed = {"trainer.steps": 0}  # as weights that are not to change
    left = sized_stages(
        source, "latent", given | fixed, 1.0, tmp_path / "fixed", jobs=1, seed=0,
        say=lambda text: None, fixed=fixed,
    )  # fmt: skip
    assert "trainer.steps" not in left
    assert json.loads((tmp_path / "1.0/sizes.json").read_text())["share_of_a_core"] > 0


def test_a_busy_machine_is_said() -> None:
    assert crowded(0.97) is None and crowded(3.8) is None
    assert "leave this one 20% of a core" in (said := crowded(0.2) or "")
    assert "trained about 5 times less" in said


def test_what_would_harm_a_training_stops_it(recorded: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nobody"):
        learn(tmp_path / "nobody", tmp_path / "lab", progress=False)
    assert not (tmp_path / "lab").exists()


MAP = """\
action:
  columns:
    - {names: [a1, a2], means: joint, motion: delta, unit: rad}
pose:
  columns:
    - {names: [q1, q2], means: joint, unit: rad}
task: reach
"""


def test_a_map_and_several_steps_to_a_frame(recorded: tuple[Path, Path], tmp_path: Path) -> None:
    """20 steps per second become 10 frames, and the world knows that two deltas add up."""
    (tmp_path / "map.yaml").write_text(MAP)
    learned = ["learn", str(recorded[0]), "--rollouts", str(recorded[1]), "--out"]
    keys = {**TINY, "kinematics.unroll": 2}
    sets = [word for key, each in keys.items() for word in ("--set", f"{key}={json.dumps(each)}")]
    done = CliRunner().invoke(
        app,
        [*learned, str(tmp_path / "lab"), "--map", str(tmp_path / "map.yaml"), "--every", "2",
         "--jobs", "1", "--json", *sets],
    )  # fmt: skip
    assert done.exit_code == 0, (done.output, done.exception)
    spec = json.loads((tmp_path / "lab/world/world.json").read_text())["spec"]
    assert (spec["fps"], spec["action_dim"], spec["tasks"]) == (10.0, 4, ["reach"])
    assert spec["body"]["steps"] == 2
    assert [each["motion"] for each in spec["body"]["commands"]] == ["delta", "delta"]
    assert json.loads(done.stdout)["horizon"] == 5  # 12 rows: frames at rows 1, 3, ... 11
    policies = [
        "zero?action_dim=2&chunk=2&views=[front,wrist]",
        "random?action_dim=4&views=[front,wrist]&step_dim=2",
    ]
    ranked = we.rank(policies, protocol=str(tmp_path / "lab"), progress=False)
    assert len(ranked.policies) == 2
