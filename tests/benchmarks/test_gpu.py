"""The check of a GPU, with tiny sizes on a CPU."""

import json
import sys
from pathlib import Path

import gpu
import gpu_paths
import pytest
import torch
from gpu import Run
from gpu_speed import matmul_rates, trained_speed

CPU = torch.device("cpu")


def test_a_run_keeps_what_it_has_when_it_is_cut(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    run = Run(out, {"device": "cpu"}, seconds=1e6)
    run.measure("part", "works", lambda: {"value": 1})
    kept = json.loads(out.read_text())
    assert kept["part"][0]["value"] == 1
    assert not kept["complete"]

    def fails() -> dict:
        raise RuntimeError("out of memory")

    run.measure("part", "fails", fails)
    run.seconds = 0.0
    run.measure("part", "late", lambda: {"value": 2})
    run.end()
    kept = json.loads(out.read_text())
    assert kept["part"][1]["failed"] == "RuntimeError: out of memory"
    assert kept["no_time_for"] == ["part: late"]
    assert not kept["complete"]
    run.found["no_time_for"] = []
    run.end()
    assert json.loads(out.read_text())["complete"]


def test_without_a_gpu_only_tiny_sizes_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--out", str(tmp_path / "x")])
    with pytest.raises(SystemExit):
        gpu.main()
    assert not list(tmp_path.iterdir())


def test_rates_are_those_of_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpu_speed.seconds_of", lambda what, device: 2.0)
    found = matmul_rates(8, CPU)
    assert found["tflops_bfloat16"] == 2 * 8**3 / 2.0 / 1e12
    assert found["copy_terabytes_per_s"] == 2 * (4 * 8 * 8 * 4) / 2.0 / 1e12


def test_every_policy_and_the_judge_have_a_path() -> None:
    checks = dict(gpu_paths.paths(CPU))
    for name, check in checks.items():
        if "policy" in name or "judge" in name:
            assert check()["ok"], name
    assert {f"{world} {does}" for world in gpu_paths.WORLDS for does in ("trains", "imagines")} < {
        *checks
    }


def test_a_path_whose_loss_differs_from_the_cpus_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([[1.0, 0.5], [1.0, 0.7]])
    monkeypatch.setattr(gpu_paths, "_two_steps", lambda *args: next(losses))
    assert not dict(gpu_paths.paths(CPU))["bc policy trains"]()["ok"]


def test_training_is_timed_with_the_familys_own_loss() -> None:
    found = trained_speed("rssm-droid", rows=2, steps=2, device=CPU, fast=False)
    assert found["finite"]
    assert found["step_s"] > 0
    assert found["idle_share"] is None  # only a GPU's is known


@pytest.mark.slow
def test_all_of_it_runs_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("diffusers")
    out = tmp_path / "gpu.json"
    words = ["gpu.py", "--tiny", "--device", "cpu", "--minutes", "60", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    gpu.main()
    found = json.loads(out.read_text())
    rows = [row for part in ("matmul", "paths", "imagination", "training") for row in found[part]]
    assert [row["name"] for row in rows if "failed" in row] == []
    assert all(row["ok"] for row in found["paths"])
    assert all(row["finite"] for row in found["imagination"] + found["training"])
    assert {row["compiled"] for row in found["imagination"]} == {False, True}
    assert found["complete"]
