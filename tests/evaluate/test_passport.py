"""The life of a passport: made from a validated run, read by `rank`, checked by its hashes."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from toy_run import make_policy, make_run
from typer.testing import CliRunner, Result

from worldeval.cli import app
from worldeval.evaluate.known import over_tasks
from worldeval.evaluate.passport_check import PassportCheck, check_passport, start_findings
from worldeval.evaluate.start_scope import StartTest
from worldeval.files import write_json
from worldeval.rollout.recipe import ProtocolRecipe
from worldeval.rollout.starts import read_starts, write_starts
from worldeval.runs.passport import FILE, PAGE, find_passport, read_passport
from worldeval.stats import ValidatedRate, ValidatedRates
from worldeval.world.world import World

POLICIES = ("a/step-1", "b/step-1", "c/step-1", "d/step-1")
STARTS = 20  # of each of two tasks: half of them held out allows one false alarm in 21


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy, ranked beside trials of all policies from all starts, and its passport."""
    home = tmp_path_factory.mktemp("passport")
    make_run(home, policies=POLICIES, starts=STARTS, horizon=2, batch=40)
    lines = ["policy,task,start,success"]
    lines += [
        f"{policy},{task},{task}-{start},{int((start + 3 * k) % 7 > k)}"
        for k, policy in enumerate(POLICIES)
        for task in ("left", "right")
        for start in range(STARTS)
    ]
    (home / "real.csv").write_text("\n".join(lines) + "\n")
    make_policy(home / "new" / "e/step-1", "e/step-1")
    done = invoke("rank", home / "toy.yaml", "--real", home / "real.csv", *quiet(home / "run"))
    assert done.exit_code == 0, (done.output, done.exception)
    made = invoke("passport", "make", home / "run", "--card", home / "toy.yaml")
    assert made.exit_code == 0, (made.output, made.exception)
    return home


def invoke(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def quiet(out: Path) -> tuple[object, ...]:
    return ("--films", "0", "--jobs", "1", "--out", out)


def ranked(home: Path, out: Path, *more: object) -> dict:
    """Rank a policy of a new lineage without truth; returns the summary."""
    policies = [word for name in ("new/e", "policies/a") for word in ("--policies", home / name)]
    done = invoke("rank", home / "toy.yaml", *policies, *quiet(out), *more)
    assert done.exit_code == 0, (done.output, done.exception)
    return json.loads((out / "summary.json").read_text())


def policies_of(home: Path) -> tuple[object, ...]:
    return tuple(word for name in POLICIES[1:] for word in ("--policies", home / "policies" / name))


def codes(summary: dict) -> dict[str, str]:
    return {found["code"]: found["severity"] for found in summary["findings"]}


def test_a_passport_says_what_was_validated(home: Path) -> None:
    passport = read_passport(home / "judge")
    assert passport.scope.tasks == ("left", "right")
    assert passport.scope.lineages == ("a", "b", "c", "d")
    assert passport.scope.cameras is not None and passport.scope.cameras.views == ("side", "top")
    assert passport.scope.actions is not None and len(passport.scope.actions.low) == 8
    assert passport.scope.starts is not None
    assert (passport.scope.starts.fitted, len(passport.scope.starts.held_out)) == (20, 20)
    assert passport.scope.starts.rate == pytest.approx(1 / 21)
    assert passport.validation is not None and passport.validation.starts == 4 * 2 * STARTS
    assert passport.phi is not None and passport.phi.clusters == 4
    assert passport.cells is not None and len(passport.cells.rates) == 8
    assert {file.role for file in passport.files} >= {"tokenizer", "starts", "data card"}
    page = (home / "judge" / PAGE).read_text()
    assert passport.sha256 in page and "It is not signed" in page and "not measured" in page


def test_inside_the_passport_new_policies_get_an_interval(home: Path, tmp_path: Path) -> None:
    summary = ranked(home, tmp_path / "run")
    assert summary["passport"]["applies"]
    assert len(summary["passport"]["starts"]) == 2 * STARTS
    assert all("predictive" in row for row in summary["ranking"]["policies"])
    found = codes(summary)
    assert "no_paired_truth" not in found and "validated_elsewhere" in found
    assert found["unvalidated_lineage"] == "warning"


def test_a_moved_camera_withholds_the_interval_and_names_the_starts(
    home: Path, tmp_path: Path
) -> None:
    starts = [
        replace(one, frames={**one.frames, "side": one.frames["side"] // 2})
        for one in read_starts(home / "starts.h5")
    ]
    write_starts(tmp_path / "dark.h5", starts)
    summary = ranked(home, tmp_path / "run", "--set", f"starts_file={tmp_path / 'dark.h5'}")
    assert not summary["passport"]["applies"]
    assert codes(summary)["starts_outside_passport"] == "refusal"
    assert codes(summary)["no_paired_truth"] == "refusal"
    assert not any("predictive" in row for row in summary["ranking"]["policies"])
    told = next(f for f in summary["findings"] if f["code"] == "starts_outside_passport")
    assert "20 of 20 on left" in told["text"] and "left-0" in told["text"]
    assert "view side" in told["text"]


def test_one_moved_start_of_each_task_is_outside() -> None:
    def tested(*outside: bool) -> list[StartTest]:
        return [
            StartTest(start=f"{k}-0", task=str(k), p=0.5, outside=far, view="top", block="colour")
            for k, far in enumerate(outside)
        ]

    outside, notes = start_findings(tested(True, True, False, False, False))
    assert [one.code for one in outside] == ["starts_outside_passport"] and not notes
    outside, notes = start_findings(tested(True, False, False, False, False))
    assert not outside and [one.code for one in notes] == ["unusual_starts"]


def test_one_unusual_start_is_named_and_withholds_nothing(home: Path, tmp_path: Path) -> None:
    first, *rest = read_starts(home / "starts.h5")
    frames = {view: np.zeros_like(image) for view, image in first.frames.items()}
    write_starts(tmp_path / "one.h5", [replace(first, frames=frames), *rest])
    summary = ranked(home, tmp_path / "run", "--set", f"starts_file={tmp_path / 'one.h5'}")
    assert summary["passport"]["applies"]
    assert "left-0" in next(
        found["text"] for found in summary["findings"] if found["code"] == "unusual_starts"
    )


def test_fewer_tasks_use_their_own_rates(home: Path, tmp_path: Path) -> None:
    summary = ranked(home, tmp_path / "run", "--set", "tasks=[left]")
    assert all("predictive" in row for row in summary["ranking"]["policies"])


@pytest.mark.parametrize("changed", ["horizon=3", "replan_every=1"])
def test_another_setting_is_outside(home: Path, tmp_path: Path, changed: str) -> None:
    summary = ranked(home, tmp_path / "run", "--set", changed)
    assert codes(summary)["settings_outside_passport"] == "refusal"
    assert not any("predictive" in row for row in summary["ranking"]["policies"])


def test_means_over_tasks_need_every_policy_on_every_task() -> None:
    cells = [
        ValidatedRate(policy=p, lineage=p, predicted=s, successes=k, trials=10, task=t)
        for p, s, k, t in (("a", 0.2, 1.0, "x"), ("a", 0.4, 5.0, "y"), ("b", 0.9, 9.0, "x"))
    ]
    known = ValidatedRates(rates=tuple(cells))
    assert over_tasks(known, frozenset({"x", "y"})) is None
    assert over_tasks(known, frozenset({"z"})) is None
    only = over_tasks(ValidatedRates(rates=tuple(cells[:2])), frozenset({"x", "y"}))
    assert only is not None
    (found,) = only.rates
    assert found.predicted == pytest.approx(0.3)
    assert (found.successes, found.trials) == (pytest.approx(6.0), 20)


def test_check_tells_what_changed(home: Path) -> None:
    done = invoke("passport", "check", home / "world", "--json")
    assert done.exit_code == 0, done.output
    (found,) = json.loads(done.stdout)["passports"]
    assert found["valid"] and found["signature"] == "unsigned"
    tokenizer = home / "world/tokenizer.safetensors"
    before = tokenizer.read_bytes()
    tokenizer.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    try:
        changed = invoke("passport", "check", home / "judge")
    finally:
        tokenizer.write_bytes(before)
    assert changed.exit_code == 2
    assert "tokenizer (../world/tokenizer.safetensors) is changed" in changed.output
    assert invoke("passport", "check", home / "judge").exit_code == 0


def test_an_edited_passport_is_refused_by_rank_and_by_check(home: Path, tmp_path: Path) -> None:
    path = home / "judge" / FILE
    before = path.read_bytes()
    content = json.loads(before)
    content["rates"]["rates"][0]["successes"] = 40.0
    write_json(path, content)
    try:
        checked = invoke("passport", "check", home / "judge")
        done = invoke("rank", home / "toy.yaml", *quiet(tmp_path / "run"))
    finally:
        path.write_bytes(before)
    assert checked.exit_code == 2 and "was edited or is damaged" in checked.output
    assert "was edited or is damaged" in str(done.exception)


def test_a_passport_made_again_adds_no_lineage_twice(home: Path) -> None:
    before = find_passport(home / "judge")
    assert before is not None and before.rates is not None
    done = invoke("passport", "make", home / "run", "--card", home / "toy.yaml", "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    again = read_passport(home / "judge")
    assert again.rates == before.rates and again.scope.starts == before.scope.starts
    assert invoke("passport", "make", home / "run", "--keep-rates").exit_code == 0
    assert read_passport(home / "judge").rates == before.rates


def test_rates_of_other_settings_are_not_kept(home: Path, tmp_path: Path) -> None:
    real = ("--real", home / "real.csv", "--set", "horizon=3")
    ranked(home, tmp_path / "run", *real, *policies_of(home))
    done = invoke("passport", "make", tmp_path / "run", "--keep-rates")
    assert "these tasks and settings" in str(done.exception)
    assert read_passport(home / "judge").scope.horizon == 2  # as it was


def test_another_run_validates_only_its_own_settings(home: Path, tmp_path: Path) -> None:
    validated = ("--validated-by", home / "run", "--set", "horizon=3")
    done = invoke("rank", home / "toy.yaml", *quiet(tmp_path / "run"), *validated)
    assert "with horizon 2, now 3" in str(done.exception)


def test_a_missing_key_leaves_the_passport_as_it_is(home: Path, tmp_path: Path) -> None:
    before = (home / "judge" / FILE).read_bytes()
    done = invoke("passport", "make", home / "run", "--keep-rates", "--key", tmp_path / "none")
    assert "no private key" in str(done.exception)
    assert (home / "judge" / FILE).read_bytes() == before


def test_a_run_without_truth_makes_no_passport(home: Path, tmp_path: Path) -> None:
    ranked(home, tmp_path / "run")
    done = invoke("passport", "make", tmp_path / "run")
    assert "was not compared with measured outcomes" in str(done.exception)
    assert "has no passport" in str(invoke("passport", "show", tmp_path / "run").exception)


def test_a_passport_is_shown(home: Path) -> None:
    done = invoke("passport", "show", home / "world")
    assert done.exit_code == 0, done.output
    for part in ("left, right", "a, b, c, d", "not measured", "unsigned", "20 held out"):
        assert part in done.output


def test_actions_beyond_the_validated_range_are_named(home: Path) -> None:
    passport = read_passport(home / "judge")
    episodes = home / "run" / "imagined"
    assert PassportCheck(passport=passport).with_actions(episodes).outside == ()
    assert passport.scope.actions is not None
    narrow = replace(passport.scope.actions, low=(-1e-3,) * 8, high=(1e-3,) * 8)
    small = replace(passport, scope=replace(passport.scope, actions=narrow))
    found = PassportCheck(passport=small, rates=passport.rates).with_actions(episodes)
    assert found.known is None
    (said,) = found.findings(measured=False)
    assert (said.code, said.severity) == ("actions_outside_passport", "refusal")
    assert "100% of the roll-outs of a/step-1" in said.text
    assert found.findings(measured=True)[0].severity == "warning"


def test_a_passport_does_not_speak_of_other_models(home: Path) -> None:
    passport = read_passport(home / "judge")
    hashes = {"world": "another", "judge": passport.judge.hash}
    found = checked(home / "judge", hashes)
    assert [each.code for each in found.outside] == ["models_outside_passport"]
    assert found.known is None and found.validated is None


def test_rates_of_an_earlier_version_are_read_with_a_warning(tmp_path: Path) -> None:
    rate = ValidatedRate(policy="a", lineage="a", predicted=0.2, successes=1.0, trials=10)
    write_json(tmp_path / "validated.json", {"rates": [asdict(rate)], "corrected": True})
    found = checked(tmp_path, {"world": "w", "judge": "j"})
    assert found.known == ValidatedRates(rates=(rate,), corrected=True)
    assert [each.code for each in found.findings(measured=False)] == ["no_passport"]
    assert checked(tmp_path / "none", {}) == PassportCheck()


def checked(judge: Path, hashes: dict[str, str]) -> PassportCheck:
    recipe = ProtocolRecipe(tasks=("left",), policies=(), world="", judge="")
    return check_passport(judge, hashes=hashes, recipe=recipe, starts=[], world=never)


def never() -> World:
    raise AssertionError("no start has to be encoded")


def test_without_a_passport_nothing_is_checked() -> None:
    nothing = PassportCheck()
    assert nothing.known is None and nothing.validated is None
    assert nothing.findings(measured=False) == () and nothing.to_json() == {}
