"""Every file of a run, damaged at random: what reads runs ends well or in one line."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runs.test_store import harm
from worldeval.errors import UserError
from worldeval.evaluate.run import REMOVE
from worldeval.report.contents import read_contents, read_findings
from worldeval.report.page import write_page
from worldeval.report.trace import read_trace
from worldeval.runs.episodes import read_episodes
from worldeval.runs.files import read_record
from worldeval.runs.films import read_filmstrips, read_frames
from worldeval.runs.finding import find_runs
from worldeval.runs.labels import add_opinion, read_opinions
from worldeval.runs.manifest import read_manifest
from worldeval.runs.origin import open_run, read_recipe
from worldeval.runs.paths import RunPaths
from worldeval.runs.store import RolloutStore
from worldeval.runs.tables import read_table, write_table

FIRST = Path(__file__).parent / "first_run"


def report(run: Path) -> None:
    rng = np.random.default_rng(0)
    contents = read_contents(run, rng=rng)
    read_findings(run, rng=rng)
    write_page(contents, run / "report/index.html", embed=True)


def viewer(run: Path) -> None:
    find_runs(run.parent)
    for row in read_episodes(run).table.to_dict("records"):
        if row["file"]:
            read_trace(RunPaths(run).imagined, row["file"], int(row["row"]))
    for strip in read_filmstrips(RunPaths(run).films):
        read_frames(RunPaths(run).films, strip.imagined)
    read_opinions(run)


def rank(run: Path) -> None:
    """What `rank` reads before it begins."""
    open_run(run, recipe=read_recipe(run), seed=0, command="rank", resume=True)
    read_manifest(run)
    read_record(RunPaths(run).seconds, dict[str, float], remedy=REMOVE)
    store = RolloutStore(RunPaths(run).imagined)
    store.mend()
    list(store.rollouts())


def export(run: Path) -> None:
    list(RolloutStore(RunPaths(run).imagined).rollouts())


def checked_run(folder: Path) -> Path:
    """The run of the first version, its tables written again with checksums, and a label."""
    run = Path(shutil.copytree(FIRST, folder / "run"))
    for side in ("imagined", "truth"):
        path = RunPaths(run).outcomes(side)
        write_table(path, read_table(path))
    add_opinion(run, read_filmstrips(RunPaths(run).films)[0], "success", who="ada")
    return run


@pytest.mark.parametrize("reader", [report, viewer, rank, export])
def test_every_reader_ends_well_or_in_one_line(
    tmp_path: Path, reader: Callable[[Path], Any]
) -> None:
    rng, run = np.random.default_rng(len(reader.__name__)), checked_run(tmp_path)
    names = [path.relative_to(run) for path in sorted(run.rglob("*")) if path.is_file()]
    refused = 0
    for name in [name for name in names if name.suffix != ".h5"] * (1 if reader is report else 2):
        again = Path(shutil.copytree(run, tmp_path / "runs/again"))
        (again / name).write_bytes(harm((again / name).read_bytes(), rng))
        try:
            reader(again)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error), name
        shutil.rmtree(again)
    assert refused > 2


@pytest.mark.parametrize("name", ["manifest.json", "seconds.json", "run.json", "summary.json"])
@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"[" * 50_000, b'{"a":' * 50_000, b"[]", b"3", b'"x"', b""]
)
def test_a_json_file_of_another_shape_is_one_line(
    tmp_path: Path, name: str, content: bytes
) -> None:
    run = Path(shutil.copytree(FIRST, tmp_path / "run"))
    (run / name).write_bytes(content)
    reader = report if name == "summary.json" else rank
    with pytest.raises(UserError, match=name.replace(".", r"\.")) as error:
        reader(run)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("manifest.json", b'{"seed": 0, "world": 3}', "'world' is 3"),
        ("seconds.json", b'{"total": "long"}', "'total' is 'long'"),
        ("seconds.json", b'{"total": 1}', None),
        ("run.json", b'{"seed": 0.5}', "'seed' is 0.5"),
    ],
)
def test_a_value_of_another_kind_is_named(
    tmp_path: Path, name: str, content: bytes, says: str | None
) -> None:
    run = Path(shutil.copytree(FIRST, tmp_path / "run"))
    (run / name).write_bytes(content)
    if says is None:
        return rank(run)
    with pytest.raises(UserError, match=name.replace(".", r"\.")) as error:
        rank(run)
    assert says in str(error.value)
    return None


def test_a_changed_outcome_is_never_reported(tmp_path: Path) -> None:
    """Every bit of every digit of the true outcomes."""
    path = RunPaths(checked_run(tmp_path)).outcomes("truth")
    whole = path.read_bytes()
    for place in range(whole.index(b"\n"), len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(UserError, match="differs from its checksum"):
            report(path.parents[1])
