"""What a report says of the world model and of how the run was made."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from worldeval.report.contents import read_contents
from worldeval.report.fidelity import CARD, read_fidelity
from worldeval.report.protocol import commands, protocol
from worldeval.runs.origin import RunFacts

GOOD = {"latent_mse": 0.25, "copy_mse": 0.5, "hand_mm": 2.0, "episodes": 9}


def test_horizons_come_in_order_with_their_share_of_a_copy(tmp_path: Path) -> None:
    card = {"fidelity": {"h10": GOOD, "h1": GOOD, "note": 3}, "tokenizer_psnr": 29.5}
    (tmp_path / CARD).write_text(json.dumps(card))
    found = read_fidelity(tmp_path)
    assert [each.frames for each in found.horizons] == [1, 10]
    assert found.horizons[0].share == pytest.approx(0.5)
    assert found.horizons[0].episodes == 9
    assert found.tokenizer_psnr == 29.5


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"fidelity": [1], "tokenizer_psnr": "x"}'])
def test_a_card_that_says_nothing_shows_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / CARD).write_text(text)
    assert not read_fidelity(tmp_path).known
    assert not read_fidelity(tmp_path / "nowhere").known


def test_the_protocol_is_told_and_the_command_quoted(kept_run: Path) -> None:
    contents = read_contents(kept_run, rng=np.random.default_rng(0))
    told = dict(protocol(contents))
    assert told["Tasks"] == "drawer-open-v3, door-open-v3"
    odd = dataclasses.replace(contents, folder=Path("my runs/$(x)"), name="$(x)")
    rank, report = commands(odd)[-2:]
    assert rank.startswith("worldeval rank 'my runs/$(x)/recipe.yaml' --out 'my runs/$(x)-again'")
    assert rank.endswith("--seed 0 --truth")
    assert report == "worldeval report 'my runs/$(x)-again'"


def test_only_a_whole_commit_is_checked_out(kept_run: Path) -> None:
    contents = read_contents(kept_run, rng=np.random.default_rng(0))
    clean = dataclasses.replace(contents, facts=RunFacts(command="rank", commit="abc"))
    assert commands(clean)[0] == "git checkout abc"
    dirty = dataclasses.replace(contents, facts=RunFacts(command="rank", commit="abc-dirty"))
    assert commands(dirty)[0].startswith("# the run used uncommitted changes")
    assert commands(dataclasses.replace(contents, facts=RunFacts(command="train"))) == []
