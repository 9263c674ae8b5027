"""Film strips on demand: of the episode asked for, or of a fair draw."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.support.imagined_run import imagined_run
from worldeval.errors import UserError
from worldeval.evaluate.develop import develop, draw
from worldeval.runs.episodes import read_episodes
from worldeval.runs.films import read_filmstrips, read_frames
from worldeval.runs.paths import FILMS, RECIPE


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return imagined_run(tmp_path_factory.mktemp("runs"))


def test_the_episode_asked_for_is_decoded_and_judged(run: Path) -> None:
    name = "random/left-1/1"
    (made,) = develop(run, [name])
    assert (made.policy, made.start, made.drawn) == ("random", "left-1", False)
    frames = read_frames(run / FILMS, made.imagined)
    length = len(frames["side"])
    assert set(frames) == {"side", "top"}
    assert len(made.evidence) == length
    table = read_episodes(run).table.set_index("id")
    assert made.probability == pytest.approx(table.loc[name, "score"], abs=1e-5)
    assert made in read_filmstrips(run / FILMS)


def test_a_draw_takes_every_episode_as_likely_and_none_twice(run: Path) -> None:
    every = draw(run, 100, rng=np.random.default_rng(0))
    assert len(every) == len(set(every)) == 12
    firsts = {draw(run, 1, rng=np.random.default_rng(seed))[0] for seed in range(100)}
    assert firsts == set(every)


def test_an_episode_filmed_before_counts_as_drawn_once_it_is(run: Path) -> None:
    develop(run, ["zero/left-0/0"])
    develop(run, ["zero/left-0/0"], drawn=True)
    (strip,) = [s for s in read_filmstrips(run / FILMS) if s.key[:3] == ("zero", "left", "left-0")]
    assert strip.drawn


def test_code_that_a_run_names_is_not_run(run: Path, tmp_path: Path) -> None:
    theirs = Path(shutil.copytree(run, tmp_path / "theirs"))
    recipe = yaml.safe_load((theirs / RECIPE).read_text())
    recipe["policies"].append("os:system?command=ls")
    (theirs / RECIPE).write_text(yaml.safe_dump(recipe))
    with pytest.raises(UserError, match=r"names Python code .*--trust-code"):
        develop(theirs, ["zero/left-0/0"], real=True)


def test_what_the_run_lacks_is_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no imagined episode 'zero/left-9/9'.*Did you mean"):
        develop(run, ["zero/left-9/9"])
    with pytest.raises(UserError, match="so the episode cannot be simulated"):
        develop(run, ["zero/left-0/0"], real=True)
    with pytest.raises(UserError, match="not a ranking run"):
        develop(tmp_path, [])
