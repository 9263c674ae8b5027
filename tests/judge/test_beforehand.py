"""What a judge could not learn from is refused before hours of training."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.toy import toy_shards
from worldeval.data.source import Source, open_source
from worldeval.errors import UserError
from worldeval.judge.beforehand import refuse_unjudgeable
from worldeval.judge.recipe import JudgeRecipe
from worldeval.world.latent.recipe import LatentRecipe

ALONE = LatentRecipe(own_rollouts=0.5, held_out=0.2)


@pytest.fixture
def recorded(tmp_path: Path) -> Source:
    return open_source(toy_shards(tmp_path / "data", episodes=12))


def told(source: Source, **changes) -> Source:
    """The same episodes with other labels or instructions."""
    source.heads = [
        replace(head, **{key: make(number) for key, make in changes.items()})
        for number, head in enumerate(source.heads)
    ]
    return source


def test_instructions_that_are_all_different_need_an_encoder(recorded: Source) -> None:
    source = told(recorded, task=lambda n: f"put it on shelf {n}", success=lambda n: n % 2 == 0)
    with pytest.raises(UserError, match=r"too many to learn by name.*--text-encoder"):
        refuse_unjudgeable(source, (), ALONE, JudgeRecipe(), seed=0)
    for text in ("ignore", "clip/"):
        refuse_unjudgeable(source, (), ALONE, JudgeRecipe(text=text), seed=0)


def test_one_task_needs_no_encoder(recorded: Source) -> None:
    source = told(recorded, task=lambda n: "push", success=lambda n: n % 2 == 0)
    refuse_unjudgeable(source, [source], LatentRecipe(kept_rollouts=0.2), JudgeRecipe(), seed=0)


def test_without_labels_or_successes_there_is_nothing_to_learn(recorded: Source) -> None:
    failed = told(recorded, task=lambda n: "push", success=lambda n: False)
    with pytest.raises(UserError, match="episodes that the judge learns from succeeded"):
        refuse_unjudgeable(failed, (), ALONE, JudgeRecipe(), seed=0)
    unknown = told(recorded, success=lambda n: None)
    with pytest.raises(UserError, match="success label"):
        refuse_unjudgeable(unknown, [unknown], LatentRecipe(), JudgeRecipe(), seed=0)
    with pytest.raises(UserError, match="at least 4 are needed"):
        refuse_unjudgeable(unknown, (), ALONE, JudgeRecipe(), seed=0)
