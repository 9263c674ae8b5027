"""What a judge is told of the task, and in which worlds it may judge."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.clip import WIDTH, tiny_clip
from worldeval.errors import UserError
from worldeval.judge.calibrate import Calibration
from worldeval.judge.fit import FittedJudge
from worldeval.judge.learned import save_judge
from worldeval.judge.load import load_judge
from worldeval.judge.made_for import MadeFor, refuse_mismatch
from worldeval.judge.network import JudgeNet
from worldeval.judge.recipe import JudgeRecipe
from worldeval.judge.tasks import JudgedTasks, judged_tasks
from worldeval.record import Rollout
from worldeval.world.protocol import ANY_TASK, WorldSpec
from worldeval.world.text import embed_texts

SPEC = WorldSpec(
    views=("top",), size=(8, 8), latent=(2, 4, 4), action_dim=2, pose_dim=3, tasks=(ANY_TASK,),
    fps=10.0,
)  # fmt: skip
NAMED = replace(SPEC, tasks=("close", "open"))
SMALL = JudgeRecipe(channels=2, hidden=4, recurrent=2, members=2)


def asked(*texts: str, spec: WorldSpec = SPEC, **recipe: Any) -> JudgedTasks:
    """The tasks of a judge that learns from one episode for every text."""
    free = spec.tasks == (ANY_TASK,)
    return judged_tasks(
        JudgeRecipe(**recipe),
        spec,
        task=np.array([0 if free else spec.tasks.index(text) for text in texts]),
        instructions=texts if free else None,
        episodes=np.arange(len(texts)),
    )


def rollout(task: str) -> Rollout:
    rng = np.random.default_rng(0)
    return Rollout(
        start="s0",
        task=task,
        policy="p",
        seed=0,
        actions=rng.normal(size=(3, 2)).astype(np.float32),
        pose=rng.normal(size=(4, 3)).astype(np.float32),
        latents=rng.normal(size=(4, 1, 2, 4, 4)).astype(np.float32),
    )


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("clip"))


def test_one_instruction_needs_no_telling() -> None:
    found = asked("push", "push")
    assert (found.names, found.index.tolist(), found.words) == ((ANY_TASK,), [0, 0], None)


def test_the_tasks_of_the_world_are_known_by_name() -> None:
    found = asked("open", "close", "open", spec=NAMED)
    assert (found.names, found.index.tolist()) == (("close", "open"), [1, 0, 1])


def test_a_few_instructions_are_known_by_name() -> None:
    found = asked("push", "lift", "push", "lift")
    assert (found.names, found.index.tolist()) == (("lift", "push"), [1, 0, 1, 0])


def test_many_instructions_need_an_encoder_or_a_word(clip: Path) -> None:
    with pytest.raises(UserError, match=r"3 different instructions.*--text-encoder"):
        asked("push", "lift", "turn")
    assert asked("push", "lift", "turn", text="ignore").names == (ANY_TASK,)
    found = asked("push", "lift", "turn", text=str(clip))
    assert (found.names, found.texts) == ((ANY_TASK,), ("lift", "push", "turn"))
    assert found.words is not None and found.words.shape == (3, WIDTH)
    torch.testing.assert_close(found.words[2:], embed_texts(clip, ["turn"]))


def saved(folder: Path, encoder: Path) -> Path:
    recipe = replace(SMALL, text=str(encoder))
    torch.manual_seed(0)
    words = embed_texts(encoder, ["lift", "push"])
    members = [
        JudgeNet(recipe, latent=(1, *SPEC.latent), pose_dim=3, tasks=1, words=WIDTH)
        for _ in range(2)
    ]
    fitted = FittedJudge(
        members=members, calibration=Calibration(slope=1.0, offsets=(0.0,)), left_out={}
    )
    tasks = JudgedTasks(
        names=(ANY_TASK,), index=np.zeros(2, np.int64), texts=("lift", "push"), words=words
    )
    save_judge(folder, fitted, recipe, SPEC, world="w", tasks=tasks, tokenizer="abc")
    return folder


def test_a_judge_reads_instructions_that_it_has_not_learned_from(
    clip: Path, tmp_path: Path
) -> None:
    judge = load_judge(saved(tmp_path / "judge", clip))
    lift, push, new = judge([rollout("lift"), rollout("push"), rollout("turn the lamp on")])
    assert len({lift.probability, push.probability, new.probability}) == 3
    assert judge([rollout("push")])[0].probability == pytest.approx(push.probability, abs=1e-6)


def test_without_its_encoder_it_knows_what_it_learned_from(tmp_path: Path) -> None:
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    folder = saved(tmp_path / "judge", tiny_clip(encoder))
    encoder.rename(tmp_path / "elsewhere")
    judge = load_judge(folder)
    assert judge.knows("push") and not judge.knows("turn")
    assert 0 < judge([rollout("push")])[0].probability < 1
    with pytest.raises(UserError, match=r"has not learned from the instruction 'turn'.*not there"):
        judge([rollout("turn")])


@pytest.mark.parametrize(
    ("world", "tokenizer", "says"),
    [
        ({"latent": (4, 4, 4)}, "abc", "latents of shape 1 x 2 x 4 x 4, not 1 x 4 x 4 x 4"),
        ({"views": ("side",)}, "abc", "the views top, not side"),
        ({"pose_dim": 7}, "abc", "3 numbers of proprioception, not 7"),
        ({"fps": 5.0}, "abc", "10 frames per second, not 5"),
        ({}, "xyz", "the tokenizer abc, not xyz"),
    ],
)
def test_a_judge_of_another_world_is_refused(world: dict, tokenizer: str, says: str) -> None:
    made = MadeFor(latent=(1, 2, 4, 4), pose_dim=3, views=("top",), fps=10.0, tokenizer="abc")
    refuse_mismatch(made, SPEC, "abc", judge="j", where="w")
    with pytest.raises(UserError, match=says):
        refuse_mismatch(made, replace(SPEC, **world), tokenizer, judge="j", where="w")


def test_what_an_older_judge_does_not_say_does_not_differ() -> None:
    refuse_mismatch(MadeFor(latent=(1, 2, 4, 4), pose_dim=3), SPEC, "abc", judge="j", where="w")
