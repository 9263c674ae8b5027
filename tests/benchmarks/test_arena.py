"""The arena of kinds of policy: what its numbers say, equal time, and going on after a stop."""

import json
import sys
from pathlib import Path

import arena
import numpy as np
import pandas as pd
import pytest
from arena import Clock, only, recipe_of
from arena_numbers import centred, compared, inside, listed, mmrv_within, spearman_within

from tests.support.toy import TASKS, toy_shards
from worldeval.data.table import read_table
from worldeval.errors import UserError

STARTS = 40
KINDS = {"bc": 0.9, "flow": 0.7, "ebt": 0.5, "dita": 0.2}


def row(kind: str, seed: int, step: int, **more) -> dict:
    name = f"{kind}-{seed}/step-{step}"
    return {"policy": name, "kind": kind, "seed": seed, "step": step, "last": step == 20, **more}


def episodes(rates: dict[str, float], column: str) -> pd.DataFrame:
    """Episodes with exactly these rates on two tasks."""
    rows = [
        {"policy": name, "task": task, "start": f"{task}-{k}", column: int(k < rate * STARTS)}
        for name, rate in rates.items()
        for task in TASKS
        for k in range(STARTS)
    ]
    return pd.DataFrame(rows)


def four_kinds() -> tuple[list[dict], dict[str, float]]:
    """Two seeds of four kinds, an early and a last checkpoint of each; later ones are better."""
    rows, real = [], {}
    for kind, best in KINDS.items():
        for seed in (0, 1):
            for step in (5, 20):
                rows.append(row(kind, seed, step, validation_mse=1 - best))
                real[rows[-1]["policy"]] = best - 0.1 * seed - 0.05 * (step == 5)
    return rows, real


def test_a_perfect_imagination_agrees_over_kinds_and_within_them() -> None:
    rows, real = four_kinds()
    found = compared(rows, episodes(real, "score"), episodes(real, "success"), seed=0)
    kinds, within = found["agreement"]["kinds"], found["agreement"]["within"]
    assert kinds["n"] == 4 and within["n"] == 16 and within["kinds"] == 4
    for measure in ("pearson", "spearman"):
        assert kinds[measure]["value"] == pytest.approx(1)
        assert within[measure]["value"] == pytest.approx(1)
    assert kinds["mmrv"]["value"] == within["mmrv"]["value"] == 0
    # Validation error knows the kinds, whose policies it gives one number.
    assert kinds["validation_error"]["spearman"] == pytest.approx(1)
    assert within["pearson"]["validation_error"] is None
    assert list(found["kinds"]) == list(KINDS)  # the best first
    assert found["kinds"]["bc"]["simulated"] == pytest.approx(0.85)  # of both seeds
    best = next(one for one in found["policies"] if one["policy"] == "bc-0/step-20")
    assert best["simulated"]["value"] == pytest.approx(0.9) and best["simulated"]["n"] == 80
    assert best["imagined"]["low"] < 0.9 < best["imagined"]["high"]
    assert best["simulated"]["tasks"] == {"left": 0.9, "right": 0.9}


def test_an_imagination_that_swaps_kinds_still_agrees_within_them() -> None:
    rows, real = four_kinds()
    swapped = {
        one["policy"]: real[one["policy"]] - 2 * (KINDS[one["kind"]] - 0.575) for one in rows
    }
    swapped = {name: float(np.clip(value, 0, 1)) for name, value in swapped.items()}
    found = compared(rows, episodes(swapped, "score"), episodes(real, "success"), seed=0)
    assert found["agreement"]["kinds"]["spearman"]["value"] == pytest.approx(-1)
    assert found["agreement"]["within"]["pearson"]["value"] > 0.9


def test_what_is_within_a_kind_is_told_by_hand() -> None:
    group = np.array([0, 0, 1, 1])
    assert centred(np.array([1.0, 3, 10, 20]), group).tolist() == [-1, 1, -5, 5]
    s, r = np.array([0.1, 0.2, 0.9, 0.8]), np.array([0.3, 0.4, 0.5, 0.9])
    assert spearman_within(s, r, group) == 0  # one pair in order, one reversed
    assert mmrv_within(s, r, group) == pytest.approx((0 + 0.4) / 2)


def test_a_noisy_truth_lowers_the_ceiling_of_what_is_within() -> None:
    kinds = {name: name[0] for name in ("a0", "a1", "b0", "b1", "c0", "c1")}
    rng = np.random.default_rng(0)
    rates = {name: float(rng.choice([0.45, 0.5, 0.55])) for name in kinds}
    tables = episodes(rates, "score"), episodes(rates, "success")
    found = inside(*tables, kinds, dict.fromkeys(kinds, 0.1), seed=0)
    assert found["pearson"]["value"] == pytest.approx(1)
    ceiling = found["pearson"]["ceiling"]
    assert ceiling is None or ceiling < 0.9  # 80 trials cannot tell such rates apart


def test_policies_without_all_episodes_wait() -> None:
    rows, real = four_kinds()
    some = {name: rate for name, rate in real.items() if not name.startswith("bc")}
    found = compared(rows, episodes(real, "score"), episodes(some, "success"), seed=0)
    assert found["agreement"]["kinds"]["n"] == 3
    waiting = next(one for one in found["policies"] if one["kind"] == "bc")
    assert waiting["simulated"] is None and waiting["imagined"] is not None
    empty = compared(rows, pd.DataFrame(), pd.DataFrame(), seed=0)
    assert empty["agreement"] == {} and len(empty["policies"]) == 16


def test_time_leaves_out_warming_up_and_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(skip=(50,))
    times = iter([0.0, 9.0, 11.0, 100.0, 102.0])  # the first stretch warms up, the third validates
    monkeypatch.setattr(arena, "process_time", lambda: next(times))
    progress = clock("bc-0", 81)
    for step in (0, 20, 40, 60, 80):
        progress(step, 0.0)
    assert clock.seconds == pytest.approx(0.1)


def test_kinds_differ_in_their_heads_alone() -> None:
    found = {kind: recipe_of(kind, ["expert", "expert-noise"]) for kind in arena.KINDS}
    assert len({recipe.head for recipe in found.values()}) == 10
    first = found["bc"]
    for recipe in found.values():
        for key in ("chunk", "demos", "network", "augment", "after_success", "fold", "views"):
            assert getattr(recipe, key) == getattr(first, key)
        assert recipe.trainer == first.trainer


def test_only_the_tasks_asked_for(tmp_path: Path) -> None:
    recorded = read_table(toy_shards(tmp_path / "data", episodes=3))
    assert only(recorded, ["left"]).tasks == ("left",)
    assert only(recorded, []).tasks == TASKS
    with pytest.raises(UserError, match=r"no episode of up \(it has: left, right\)"):
        only(recorded, ["up"])


def test_the_arena_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, home, out = tmp_path / "data", tmp_path / "home", tmp_path / "arena.json"
    toy_shards(data, episodes=16)
    tried: list[list[str]] = []

    def pretend(policies, args) -> None:
        """Stands for the world model and the simulator: later checkpoints succeed more often."""
        tried.append([Path(one).parent.name + "/" + Path(one).name for one in policies])
        named = {name for call in tried for name in call}
        rates = {name: min(1.0, 0.2 + int(name.rpartition("-")[2]) / 1000) for name in named}
        (home / "run/outcomes").mkdir(parents=True, exist_ok=True)
        episodes(rates, "score").to_csv(home / "run/outcomes/imagined.csv", index=False)
        episodes(rates, "success").to_csv(home / "run/outcomes/truth.csv", index=False)

    monkeypatch.setattr(arena, "roll_out", pretend)
    monkeypatch.setattr(arena, "TRIAL", 41)
    words = ["arena.py", "--data", str(data), "--tasks", "--minutes", "0.004", "--seeds", "1"]
    words += ["--kinds", "bc", "flow", "a2a", "--experts", "expert"]
    words += ["--home", str(home), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", [*words, "--stop", "train"])
    arena.main()
    trained = json.loads(out.read_text())["policies"]
    assert [one["kind"] for one in trained] == ["bc", "bc", "flow", "flow", "a2a", "a2a"]
    assert [one["last"] for one in trained] == [False, True] * 3 and not tried
    assert all(one["parameters"] > 1000 and one["latency_ms"] > 0 for one in trained)
    weights = {path: path.stat().st_mtime_ns for path in home.rglob("*.safetensors")}
    monkeypatch.setattr(sys, "argv", words)
    arena.main()
    assert weights == {path: path.stat().st_mtime_ns for path in home.rglob("*.safetensors")}
    content = json.loads(out.read_text())
    assert [len(call) for call in tried] == [3, 2, 2, 2]  # the last ones first, then early ones
    assert content["agreement"]["kinds"]["n"] == 3 and content["agreement"]["policies"]["n"] == 6
    assert "| bc-0/step-" in capsys.readouterr().out + listed(content)
    monkeypatch.setattr(sys, "argv", [*words, "--early", "0.5"])
    with pytest.raises(UserError, match=r"early was 0\.25, now 0\.5"):
        arena.main()
