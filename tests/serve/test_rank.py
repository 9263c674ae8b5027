"""`worldeval rank` with a policy on a server: the same verdicts as with the policy itself."""

import csv
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


def toy_run(folder: Path) -> Path:
    """World model, judge, one policy, starts and protocol with random weights."""
    path = ROOT / "benchmarks" / "toy_run.py"
    spec = importlib.util.spec_from_file_location("toy_run_of_serve", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make_run(folder, policies=("a/step-1",), starts=3, batch=4, horizon=4)


@contextmanager
def served(policy: Path, token: str) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "worldeval", "serve-policy", str(policy), "--port", "0", "--json"],
        env={**os.environ, "WORLDEVAL_TOKEN": token},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout
        yield json.loads(process.stdout.readline())["address"]
    finally:
        process.terminate()
        process.communicate()


def test_the_verdicts_of_a_policy_on_a_server_are_its_own(tmp_path: Path) -> None:
    protocol = toy_run(tmp_path)
    here = tmp_path / "policies" / "a" / "step-1"
    with served(here, "a token") as url:
        there, alone = f"{url}?name=there", f"{url}?name=alone&sessions=episode"
        command = ["rank", str(protocol), "--films", "0", "--jobs", "1", "--json"]
        for address in (here, there, alone):
            command += ["--policies", str(address)]
        done = subprocess.run(
            [sys.executable, "-m", "worldeval", *command, "--out", str(tmp_path / "run")],
            env={**os.environ, "WORLDEVAL_TOKEN": "a token"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    with (tmp_path / "run" / "outcomes" / "imagined.csv").open() as file:
        rows = list(csv.DictReader(file))
    scores: dict[str, dict[str, float]] = {}
    for row in rows:
        scores.setdefault(row["policy"], {})[row["start"]] = float(row["score"])
    assert set(scores) == {"a/step-1", "there", "alone"} and len(rows) == 18
    assert scores["there"] == scores["a/step-1"]
    assert len(set(scores["there"].values())) > 1
    # One request an episode: the same network on batches of one, up to rounding.
    for start, score in scores["alone"].items():
        assert abs(score - scores["a/step-1"][start]) < 1e-4
    assert "a token" not in (tmp_path / "run" / "recipe.yaml").read_text()
