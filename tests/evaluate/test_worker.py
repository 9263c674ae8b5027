"""A worker on a toy evaluation: a verdict depends on its own episode, on nothing beside it."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_run import make_run

from worldeval import recipe as recipes
from worldeval.evaluate.workers.cluster import folders_of
from worldeval.evaluate.workers.jobs import BatchDone, BatchFailed, Job, by_task
from worldeval.evaluate.workers.parcel import Parcel
from worldeval.evaluate.workers.worker import Setup, Worker, workers
from worldeval.rollout.starts import read_starts

REF = "policies/a/step-1"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("toy")


@pytest.fixture(scope="module")
def setup(home: Path) -> Setup:
    recipe = recipes.load(str(make_run(home, policies=["a/step-1"], starts=10)), "protocol").config
    starts = by_task(read_starts(home / "starts.h5"), recipe.tasks)
    return Setup(recipe=recipe, starts=starts, seed=0)


def job(home: Path, *starts: int, ref: str = REF) -> Job:
    return Job(name="job", ref=str(home / ref), policy="a/step-1", starts=starts)


def done(worker: Worker, job: Job) -> dict[int, float]:
    """place of the start -> probability."""
    result = worker(job)
    assert isinstance(result, BatchDone), result
    return dict(zip(job.starts, result.probabilities, strict=True))


def test_gpus_bound_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert workers(16) == 16
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert (workers(16), workers(1)) == (4, 1)


def test_a_verdict_is_the_same_whatever_is_imagined_beside_it(home: Path, setup: Setup) -> None:
    worker = Worker(setup)
    whole = done(worker, job(home, *range(20)))
    assert np.std(list(whole.values())) > 1e-2
    for part in ((0,), (3, 1, 17), tuple(range(19, 6, -1))):
        expected = {place: whole[place] for place in part}
        assert done(worker, job(home, *part)) == pytest.approx(expected, abs=1e-4)


def test_the_same_job_is_the_same_to_the_bit_and_brings_evidence(home: Path, setup: Setup) -> None:
    one, again = (Worker(setup)(job(home, 4, 2)) for _ in range(2))
    assert isinstance(one, BatchDone) and isinstance(again, BatchDone)
    assert one.packed == again.packed
    with np.load(io.BytesIO(one.packed)) as file:
        evidence, frames = file["evidence"], file["latents"].shape[1]
    assert evidence.shape == (2, frames) and 0 < evidence.min() < evidence.max() < 1


def test_what_a_policy_breaks_is_told(home: Path, setup: Setup) -> None:
    code = home / "broken.py"
    code.write_text(
        "from worldeval.policy.builtin import Zero\n"
        "class Broken(Zero):\n"
        "    def act(self, observation):\n"
        "        raise RuntimeError('out of ideas')\n"
        "def make():\n"
        "    return Broken(action_dim=8)\n"
    )
    failed = Worker(setup)(job(home, 0, ref="broken.py:make"))
    assert isinstance(failed, BatchFailed)
    assert (failed.error, failed.mistake) == ("out of ideas", False)
    assert "in act" in failed.details


def test_a_policy_that_is_not_there_is_a_mistake(home: Path, setup: Setup) -> None:
    failed = Worker(setup)(job(home, 0, ref="policies/none"))
    assert isinstance(failed, BatchFailed) and failed.mistake


def test_models_travel_in_a_parcel(home: Path, setup: Setup, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    recipe = setup.recipe
    parcel = Parcel.of([recipe.world, recipe.judge, str(home / REF), "ws://host:8000"])
    places = parcel.unpack()
    assert sorted(places) == sorted([recipe.world, recipe.judge, str(home / REF)])
    assert all(Path(place).is_relative_to(tmp_path / "cache") for place in places.values())
    here, there = Worker(setup), Worker(replace(setup, places=places))
    assert done(here, job(home, 2)) == done(there, job(home, 2))
    assert parcel.unpack() == places


def test_a_policy_travels_with_its_adapter(setup: Setup) -> None:
    ref = "runs/bc/step-4?adapter=fits/arm&size=2"
    assert folders_of(ref) == ["runs/bc/step-4", "fits/arm"]
    there = replace(setup, places={"runs/bc/step-4": "/cache/1", "fits/arm": "/cache/2"})
    assert there.place(ref) == "/cache/1?adapter=/cache/2&size=2"
    assert there.place("ws://host:8000?chunk=2") == "ws://host:8000?chunk=2"
    assert setup.place(ref) == ref
