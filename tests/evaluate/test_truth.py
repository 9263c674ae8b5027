"""Episodes of the simulator that a run lacks: whatever was done before is not done again."""

from pathlib import Path

from worldeval.evaluate.jobs import Shard
from worldeval.evaluate.truth import _missing, _name, forget, read_truth

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
