"""What a judge knows of the task: an embedding of the instruction, its name, or nothing.

Embeddings let it read instructions that it was not trained on. Without a text encoder, a few known
tasks are told apart by name, and for a single task nothing needs to be known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from worldeval.axes import Array, Float, Int
from worldeval.errors import UserError
from worldeval.judge.recipe import IGNORED, JudgeRecipe
from worldeval.world.protocol import ANY_TASK, WorldSpec
from worldeval.world.sources import MANY
from worldeval.world.text import embed_texts


@dataclass(frozen=True, kw_only=True)
class JudgedTasks:
    """The tasks of a judge, and the one of every episode."""

    names: tuple[str, ...]  # those that are told apart by name; only `ANY_TASK` if none are
    index: Int[Array, " e"]  # of `texts` if there are any, else of `names`
    texts: tuple[str, ...] = ()  # instructions that are embedded
    words: Float[Tensor, "n c"] | None = None  # their embeddings


def judged_tasks(
    recipe: JudgeRecipe,
    spec: WorldSpec,
    *,
    task: Int[Array, " e"],
    instructions: tuple[str, ...] | None,
    episodes: Int[Array, " k"],
) -> JudgedTasks:
    """Choose how a judge is told the task of `episodes`, which it learns from.

    Args:
        task: of every episode, as a number of `spec.tasks`.
        instructions: of every episode, if the world model does not tell tasks apart.

    Raises:
        UserError: the instructions are too many to be known by name, and no encoder is given.
    """
    texts = [spec.tasks[each] for each in task] if instructions is None else list(instructions)
    if recipe.text and recipe.text != IGNORED:
        if instructions is None:
            known, index = spec.tasks, task
        else:
            known = tuple(sorted({texts[index] for index in episodes}))
            index = _numbers(texts, known)
        words = embed_texts(Path(recipe.text), known)
        return JudgedTasks(names=(ANY_TASK,), index=index, texts=known, words=words)
    if spec.tasks != (ANY_TASK,):
        return JudgedTasks(names=spec.tasks, index=task)
    known = tuple(sorted({texts[index] for index in episodes}))
    if len(known) == 1 or recipe.text == IGNORED:
        return JudgedTasks(names=(ANY_TASK,), index=np.zeros(len(texts), np.int64))
    refuse_unnamed([texts[index] for index in episodes], recipe)
    return JudgedTasks(names=known, index=_numbers(texts, known))


def refuse_unnamed(texts: Sequence[str], recipe: JudgeRecipe) -> None:
    """Refuse instructions, one per episode, that are too many to be known by name."""
    known = len(set(texts))
    if recipe.text or known == 1 or (known <= MANY and 2 * known <= len(texts)):
        return
    raise UserError(
        f"The {len(texts)} episodes that the judge learns from have {known} different "
        "instructions, too many to learn by name. Give a text encoder: --text-encoder FOLDER, "
        "a local copy of openai/clip-vit-base-patch32 or of a sentence encoder. If success "
        f"looks alike for all of them, --text-encoder {IGNORED} judges without the instruction."
    )


def _numbers(texts: list[str], known: tuple[str, ...]) -> Int[Array, " e"]:
    place = {text: number for number, text in enumerate(known)}
    return np.array([place.get(text, 0) for text in texts])  # those not learned from are unused
