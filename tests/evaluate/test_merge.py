"""Parts of a run put together: what fits becomes the whole, what does not is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.toy_store import batch, toy_starts
from worldeval.errors import UserError
from worldeval.evaluate.imagined import ImaginedPart
from worldeval.evaluate.merge import merge
from worldeval.evaluate.truth import read_truth
from worldeval.evaluate.workers.jobs import Shard
from worldeval.evaluate.workers.spread import Alone
from worldeval.rollout.starts import read_starts, write_starts
from worldeval.runs.manifest import Manifest, PolicyRecord, write_manifest
from worldeval.runs.store import RolloutStore

STARTS = toy_starts(6)
MANIFEST = Manifest(
    seed=0,
    world="w",
    judge="j",
    protocol={"horizon": 2},
    policies={"a": PolicyRecord(ref="runs/a", hash="1"), "b": PolicyRecord(ref="runs/b", hash="2")},
)
TRUTH = "policy,task,start,seed,success,frames\n"


def part(folder: Path, index: int = 0, count: int = 1, manifest: Manifest = MANIFEST) -> Path:
    folder.mkdir()
    (folder / "recipe.yaml").write_text("kind: closed-loop\npolicies: [runs/a]\nstarts: 6\n")
    write_manifest(folder, manifest)
    write_starts(folder / "starts.h5", STARTS)
    ImaginedPart(
        folder=folder,
        refs={name: tried.ref for name, tried in manifest.policies.items()},
        starts=STARTS,
        seed=0,
        batch=4,
        shard=Shard(index=index, count=count),
    ).work(Alone(lambda: lambda job: batch(job, STARTS)))
    return folder


def verdicts(run: Path) -> dict:
    return RolloutStore(run / "imagined").done()


def test_parts_make_the_whole_and_merging_again_changes_nothing(tmp_path: Path) -> None:
    parts = [part(tmp_path / f"part-{i}", i, 3) for i in range(3)]
    whole = part(tmp_path / "whole")
    merged = merge(parts, tmp_path / "out")
    assert (merged.imagined, merged.twice) == (24, 0)
    assert verdicts(tmp_path / "out") == verdicts(whole)
    assert [one.id for one in read_starts(tmp_path / "out/starts.h5")] == [s.id for s in STARTS]
    assert merge(parts, tmp_path / "out").imagined == 24


def test_parts_may_have_policies_of_their_own(tmp_path: Path) -> None:
    one = replace(MANIFEST, policies={"a": MANIFEST.policies["a"]})
    two = replace(MANIFEST, policies={"b": MANIFEST.policies["b"]})
    parts = [part(tmp_path / "one", manifest=one), part(tmp_path / "two", manifest=two)]
    merge(parts, tmp_path / "out")
    assert verdicts(tmp_path / "out") == verdicts(part(tmp_path / "whole"))


def test_another_world_is_refused(tmp_path: Path) -> None:
    other = part(tmp_path / "other", manifest=replace(MANIFEST, world="w2"))
    with pytest.raises(UserError, match="another world"):
        merge([part(tmp_path / "one"), other], tmp_path / "out")


def test_two_answers_for_one_episode_are_refused(tmp_path: Path) -> None:
    one, two = part(tmp_path / "one"), part(tmp_path / "two")
    store = RolloutStore(two / "imagined")
    (rollout, verdict), *_ = store.rollouts()
    store.files()[0].unlink()
    store.save("0", [rollout], [replace(verdict, probability=1 - verdict.probability)])
    with pytest.raises(UserError, match="parts disagree"):
        merge([one, two], tmp_path / "out")


def test_another_picture_for_a_start_is_refused(tmp_path: Path) -> None:
    one, two = part(tmp_path / "one"), part(tmp_path / "two")
    write_starts(two / "starts.h5", [replace(STARTS[0], pose=STARTS[0].pose + 1), *STARTS[1:]])
    with pytest.raises(UserError, match="open-0"):
        merge([one, two], tmp_path / "out")


def test_truth_is_put_together_too(tmp_path: Path) -> None:
    parts = [part(tmp_path / f"part-{i}", i, 2) for i in range(2)]
    for folder, rows in zip(
        parts, ("a,open,open-0,0,1,3\n", "b,open,open-0,0,0,30\n"), strict=True
    ):
        (folder / "truth").mkdir()
        (folder / "truth/open-000.csv").write_text(TRUTH + rows)
    assert merge(parts, tmp_path / "out").simulated == 2


def test_a_folder_that_is_no_part_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no manifest\.json"):
        merge([tmp_path], tmp_path / "out")


def measured(run: Path, rows: str, name: str = "open-1.csv") -> Path:
    (run / "truth").mkdir(exist_ok=True)
    (run / "truth" / name).write_text(TRUTH + rows)
    return run


@pytest.mark.parametrize("name", ["open-1.csv", "open-2.csv"])  # the same block, and another
def test_two_truths_of_one_episode_are_refused(tmp_path: Path, name: str) -> None:
    one = measured(part(tmp_path / "one"), "010000,open,open-1,1,1,9\nb,open,open-1,1,0,9\n")
    two = measured(part(tmp_path / "two"), "010000,open,open-1,1,0,9\n", name)
    with pytest.raises(UserError, match="policy 010000 fails on open with seed 1, another part"):
        merge([one, two], tmp_path / "out")


@pytest.mark.parametrize("success", ["nan", "", "0.5", "2"])
def test_a_truth_that_is_none_is_refused(tmp_path: Path, success: str) -> None:
    one = measured(part(tmp_path / "one"), f"a,open,open-1,1,{success},9\n")
    with pytest.raises(UserError, match="0 or 1 as its success"):
        merge([one], tmp_path / "out")


def test_a_probability_that_is_none_is_refused(tmp_path: Path) -> None:
    one = part(tmp_path / "one")
    store = RolloutStore(one / "imagined")
    (rollout, verdict), *_ = store.rollouts()
    store.files()[0].unlink()
    store.save("0", [rollout], [replace(verdict, probability=float("nan"))])
    with pytest.raises(UserError, match="the probability nan"):
        merge([one], tmp_path / "out")


def test_truths_that_agree_are_put_together(tmp_path: Path) -> None:
    one = measured(part(tmp_path / "one"), "010000,open,open-1,1,1,9\n")
    two = measured(part(tmp_path / "two"), "010000,open,open-1,1,1,9\nNA,open,open-2,2,0,9\n")
    assert merge([one, two], tmp_path / "out").simulated == 2
    assert set(read_truth(tmp_path / "out/truth")["policy"]) == {"010000", "NA"}
