"""The comparison of families: what is timed, and what a row says."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import families
import pytest
import torch
from families import HORIZONS, Bench, Failed, summary, table
from family_steps import plan, rate
from world_speed import LAYOUTS, Asked, Rolling, by_turns, chosen

from tests.support.dit import SPEC, TINY, a_world
from tests.world.ctrl_world.tiny import TINY as CTRL
from worldeval.errors import UserError
from worldeval.world.ctrl_world.family import new as new_ctrl_world


def asked(world: str, **changes) -> Asked:
    settings = {
        "recipe": True,
        "layout": "metaworld",
        "sampler_steps": None,
        "batch": 1,
        "steps": 1,
        "chunk": 1,
        "threads": 1,
        "device": "cpu",
        "seed": 0,
    }
    return Asked(world=world, **{**settings, **changes})


def test_speed_counts_every_view_of_every_episode() -> None:
    rolling = Rolling(a_world(), batch=2, steps=5)
    assert rolling.frames == 2 * 5 * 2
    clock, used = rolling.round()
    assert clock > 0 and used > 0
    found = rolling.facts()
    assert found["parameters"] > 1000 and found["peak_memory_mib"] > 0
    assert found["drawing_seconds_per_frame"] is None  # this world cannot draw


def test_more_steps_of_the_sampler_cost_more_multiplications() -> None:
    world = a_world()
    once = Rolling(world, batch=2, steps=3).facts()["gigaflop_per_frame"]
    world.steps = 8
    assert Rolling(world, batch=2, steps=3).facts()["gigaflop_per_frame"] > 2 * once


def test_frames_imagined_at_once_cost_less_each() -> None:
    spec = replace(SPEC, latent=(3, 4, 4))
    world = new_ctrl_world(spec, replace(CTRL, kinematics=TINY.kinematics))
    world.eval()
    single, double = (Rolling(world, batch=1, steps=4, chunk=chunk) for chunk in (1, 2))
    assert single.frames == double.frames
    cost = [each.facts()["gigaflop_per_frame"] for each in (single, double)]
    assert cost[1] < 0.8 * cost[0]


def test_a_recipe_is_timed_with_fresh_weights() -> None:
    family, world = chosen(asked("dit-droid", layout="droid", sampler_steps=1))
    assert (family, world.spec) == ("dit", LAYOUTS["droid"])
    assert world.steps == 1  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="no such sampler"):
        chosen(asked("rssm-tiny", sampler_steps=2))
    with pytest.raises(UserError, match="one frame at a time"):
        chosen(asked("rssm-tiny", chunk=2))


def test_ratios_are_taken_within_a_round() -> None:
    found = by_turns([asked("rssm-tiny"), asked("rssm-tiny", batch=2)], rounds=1)
    first, second = found["worlds"]
    assert (first["frames_a_round"], second["frames_a_round"]) == (2, 4)
    ratio = found["ratios"]["rssm-tiny against rssm-tiny"]
    expected = first["frames_per_second"] / second["frames_per_second"]
    assert ratio["least"] == ratio["median"] == pytest.approx(expected)


def test_time_becomes_steps() -> None:
    assert rate([10.0, 12.0, 16.0]) == pytest.approx(40 / 6)
    # A minute: a fifth of it, or less, for the hand, the rest for the dynamics.
    assert plan({"hand": 10, "dynamics": 2}, hand=500, minutes=1) == {
        "hand_steps": 120,
        "steps": 96,
    }
    assert plan({"hand": 10, "dynamics": 2}, hand=50, minutes=1) == {"hand_steps": 50, "steps": 110}
    assert plan({"dynamics": 2}, hand=500, minutes=1) == {"hand_steps": 0, "steps": 120}


def test_a_verb_is_run_once_and_its_cost_is_kept(tmp_path: Path) -> None:
    bench, result = Bench(folder=tmp_path, threads=1), tmp_path / "there"
    write = [sys.executable, "-c", f"open({str(result)!r}, 'x').close()"]
    bench.done("write", write, result)
    bench.done("write", write, result)  # `x` would refuse a second time
    assert bench.costs()["write"]["cpu_seconds"] > 0
    fails = [sys.executable, "-c", "raise SystemExit('no such data')"]
    with pytest.raises(Failed, match="read: exit status 1: no such data"):
        bench.done("read", fails, tmp_path / "missing")
    assert set(bench.costs()) == {"write", "read"}  # a failure costs time too


def view(value: float) -> dict:
    names = ("psnr", "ssim", "copied_psnr", "copied_ssim", "ceiling_psnr")
    return {f"h{horizon}": {name: {"value": value} for name in names} for horizon in HORIZONS}


FOUND = {
    "episodes": 4,
    "pictures": {"side": view(20.0), "top": view(30.0)},
    "latents": {},
    "action_following": {
        "inverse_dynamics_mm": {name: {"value": 5.0} for name in ("imagined", "recorded", "still")},
        "actions": {"shuffled": {"h10": {"change": {"value": 0.7}}}},
    },
    "memory": None,
    "not_measured": {},
}


def test_a_row_is_the_mean_over_views() -> None:
    row = summary(FOUND)
    assert row["pictures"]["psnr"] == {f"h{horizon}": 25.0 for horizon in HORIZONS}
    told = {
        "recipe": "mine",
        "failed": "",
        "training": {"steps": 10},
        "costs": {"train": {"cpu_seconds": 120.0}},
        "speed": {"frames_per_second": 1234.0, "peak_memory_mib": 500.0},
        "ranking": {"pearson": {"value": 0.9, "low": 0.5, "high": 1.0}},
        **row,
    }
    assert "| mine | 10 | 2.0 | 25.0 / 25.0 / 25.0 / 25.0 |" in table([told])
    assert "| 0.900 [0.50, 1.00] |  | 1,234 | 500 |" in table([told])


# Stands for every verb: notes that it was called and writes what the verb would.
VERBS = """
import json, os, pathlib, sys
verb, words = sys.argv[1], sys.argv[2:]
out = pathlib.Path(words[words.index("--out") + 1])
with open(os.environ["CALLS"], "a") as calls:
    print(verb, out.parent.name if out.suffix else out.name, file=calls)
if verb == "train" and "dit-tiny" in words and "BROKEN" in os.environ:
    sys.exit("the data is gone")
written = {
    "steps": (".", {"steps": 7, "hand_steps": 3}),
    "train": ("world.json", {}),
    "fidelity": (".", json.loads(os.environ["FOUND"])),
    "judge": ("judge.json", {}),
    "rank": ("summary.json", {"agreement": {"pearson": {"value": 0.5, "low": 0.1, "high": 0.8}}}),
    "speed": (".", {"worlds": [{"frames_per_second": 10.0, "peak_memory_mib": 20.0}]}),
}
name, content = written[verb]
out = out / name
out.parent.mkdir(parents=True, exist_ok=True)
out.write_text(json.dumps(content))
"""


def test_a_family_that_fails_stops_no_other_and_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verbs, calls, out = tmp_path / "verbs.py", tmp_path / "calls", tmp_path / "families.json"
    verbs.write_text(VERBS)
    words = [sys.executable, "-S", str(verbs)]
    for name, command in (("WORLDEVAL", []), ("STEPS", ["steps"]), ("SPEED", ["speed"])):
        monkeypatch.setattr(families, name, [*words, *command])
    monkeypatch.setattr(families, "share", lambda recipes, args: make(args.home / "shared"))
    for name, value in (("CALLS", str(calls)), ("FOUND", json.dumps(FOUND)), ("BROKEN", "yes")):
        monkeypatch.setenv(name, value)
    given = ["--data", "D", "--weak", "W", "--families", "latent", "dit-tiny", "--rank", "P"]
    given += ["--home", str(tmp_path / "home"), "--out", str(out), "--parallel", "2"]
    given += ["--threads", str(torch.get_num_threads())]  # sets those of this process too
    monkeypatch.setattr(sys, "argv", ["families.py", *given])
    with pytest.raises(SystemExit):
        families.main()
    latent, dit = json.loads(out.read_text())["families"]
    assert (latent["failed"], latent["speed"]["frames_per_second"]) == ("", 10.0)
    assert dit["failed"] == "train: exit status 1: the data is gone"
    assert dit["training"]["steps"] == 7 and dit["ranking"] is None
    before = calls.read_text().splitlines()
    whole = "steps latent, train latent, fidelity latent, judge judge, rank rank, speed latent"
    assert sorted(before) == sorted(f"{whole}, steps dit-tiny, train dit-tiny".split(", "))
    monkeypatch.delenv("BROKEN")
    families.main()
    _, dit = json.loads(out.read_text())["families"]
    assert dit["failed"] == "" and dit["ranking"]["pearson"]["value"] == 0.5
    after = calls.read_text().splitlines()[len(before) :]
    rest = "train dit-tiny, fidelity dit-tiny, judge judge, rank rank, speed dit-tiny"
    assert after == rest.split(", ")
    monkeypatch.setattr(sys, "argv", ["families.py", *given, "--minutes", "3"])
    with pytest.raises(UserError, match=r"minutes was 10\.0, now 3\.0"):
        families.main()


def make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)


def test_a_family_that_failed_says_why() -> None:
    row = {"recipe": "mine", "failed": "train: no data", "training": None, "costs": {}}
    assert "| ... failed: train: no data |" in table([{**row, "speed": None, "ranking": None}])
