"""Episodes of the simulator that a run lacks: whatever was done before is not done again."""

from pathlib import Path

import numpy as np
import pytest
import torch

from worldeval.errors import UserError
from worldeval.evaluate import films, truth
from worldeval.evaluate.truth import _missing, _name, forget, load_one, measure_truth, read_truth
from worldeval.evaluate.workers.jobs import Shard
from worldeval.policy.builtin import Zero
from worldeval.record import Observation
from worldeval.rollout.recipe import ProtocolRecipe, TruthRecipe
from worldeval.rollout.simulate import TruthOutcome
from worldeval.world.protocol import WorldSpec

HEAD = "policy,task,start,seed,success,frames\n"
REFS, NAMES = ["ref/a", "ref/b"], ["a", "b"]


def missing(folder: Path, seeds: list[int], **how) -> list[tuple[str, tuple]]:
    shard = how.get("shard", Shard())
    jobs = _missing(["open", "close"], REFS, NAMES, seeds, folder, shard)
    return [(job.task, job.episodes) for job in jobs]


def test_only_what_no_file_holds_is_missing(tmp_path: Path) -> None:
    # As an earlier version named its files: what counts is what stands in them.
    (tmp_path / "open-000.csv").write_text(HEAD + "a,open,open-0,0,1,3\nb,open,open-0,0,0,9\n")
    assert missing(tmp_path, [0, 1]) == [
        ("open", (("ref/a", 1), ("ref/b", 1))),
        ("close", (("ref/a", 0), ("ref/a", 1), ("ref/b", 0), ("ref/b", 1))),
    ]


def test_shards_share_the_episodes(tmp_path: Path) -> None:
    parts = [missing(tmp_path, [0], shard=Shard(index=i, count=2)) for i in range(2)]
    assert [[task for task, _ in part] for part in parts] == [["open"], ["close"]]


def test_rows_count_once_and_a_changed_policy_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text(HEAD + "a,open,open-0,0,1,3\nb,open,open-0,0,0,9\n")
    (tmp_path / "two.csv").write_text(HEAD + "a,open,open-0,0,1,3\n")
    assert len(read_truth(tmp_path)) == 2
    forget(tmp_path, "a")
    assert list(read_truth(tmp_path)["policy"]) == ["b"]
    assert not (tmp_path / "two.csv").exists()
    assert read_truth(tmp_path / "none").empty


def test_the_same_job_is_the_same_file(tmp_path: Path) -> None:
    names = dict(zip(REFS, NAMES, strict=True))
    one, other = _missing(["open", "close"], REFS, NAMES, [0], tmp_path, Shard())
    again, _ = _missing(["open", "close"], REFS, NAMES, [0], tmp_path, Shard())
    assert _name(one, names) == _name(again, names) != _name(other, names)


@pytest.mark.parametrize("trusted", [True, False])
def test_trust_in_pickles_reaches_every_process(
    trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = str(tmp_path / "zero.pt")
    torch.save(Zero(), ref)
    given = []
    monkeypatch.setattr(truth, "unavailable", lambda address: None)
    monkeypatch.setattr(truth, "simulate", lambda jobs, *_, **__: given.extend(jobs))
    monkeypatch.setattr(films, "record", lambda jobs, *_, **__: given.extend(j for j, _ in jobs))
    recipe = ProtocolRecipe(tasks=("open",), policies=(ref,), world="", judge="",
                            truth=TruthRecipe(env="metaworld"))  # fmt: skip
    measure_truth(recipe, [ref], ["zero"], [0], tmp_path, processes=1, trust_pickle=trusted)
    with pytest.raises(FileNotFoundError):  # nothing was recorded
        films.simulated_frames(recipe, [(ref, "open", 0)], processes=1, trust_pickle=trusted)
    assert len(given) == 2
    for job in given:
        if trusted:
            assert job.load(ref, 0).spec.name == "zero"
        else:
            with pytest.raises(UserError, match="pass --trust-pickle"):
                job.load(ref, 0)


def test_every_episode_is_counted_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def instant(jobs, *_, done, finished, **__) -> None:
        for job in jobs:
            found = [
                TruthOutcome(policy=ref, task=job.task, seed=seed, success=True, steps=1)
                for ref, seed in job.episodes
            ]
            for each in found:
                finished(each)
            done(job, found)

    monkeypatch.setattr(truth, "unavailable", lambda address: None)
    monkeypatch.setattr(truth, "simulate", instant)
    recipe = ProtocolRecipe(tasks=("open",), policies=("a", "b"), world="", judge="",
                            truth=TruthRecipe(env="metaworld"))  # fmt: skip
    told: list[tuple[int, int]] = []
    tables = [
        measure_truth(
            recipe, REFS, NAMES, [0, 1], tmp_path, processes=1,
            progress=lambda done, total: told.append((done, total)),
        )
        for _ in range(2)
    ]  # fmt: skip
    assert told == [(k, 4) for k in range(5)]  # the second time, nothing is left to do
    assert [len(table) for table in tables] == [4, 4]


ACTING = """
from worldeval.policy.builtin import Zero
from dataclasses import replace

class Slow(Zero):
    @property
    def spec(self):
        return replace(super().spec, space="joint-position(2,deg)+0", views=())

    def act(self, observation):
        return super().act(observation) + 90

def make():
    return Slow(action_dim=2, chunk=2)
"""


def test_a_policy_is_converted_for_the_simulator_as_for_its_world(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(ACTING)
    world = WorldSpec(
        views=(), size=(4, 4), latent=(1, 1, 1), action_dim=2, pose_dim=2, tasks=("t",), fps=5.0,
        space="joint-position(2)+0",
    )  # fmt: skip
    policy = load_one(f"{tmp_path}/mine.py:make", 0, world=world)
    policy.reset(["t"], [0])
    seen = Observation(frames={}, pose=np.zeros((1, 2), np.float32), tasks=("t",))
    np.testing.assert_allclose(policy.act(seen), np.full((1, 2, 2), np.pi / 2), atol=1e-6)
