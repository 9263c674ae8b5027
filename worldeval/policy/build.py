"""The head of a recipe, and the parts of the feature that it reads."""

import re
from collections.abc import Callable

from worldeval.policy.heads.a2a import A2aHead
from worldeval.policy.heads.act_jepa import ActJepaHead
from worldeval.policy.heads.bc import BcHead
from worldeval.policy.heads.beso import BesoHead
from worldeval.policy.heads.carp import CarpHead
from worldeval.policy.heads.diffusion import DiffusionHead
from worldeval.policy.heads.dita import DitaHead
from worldeval.policy.heads.ebt import EbtHead
from worldeval.policy.heads.flow import FlowHead
from worldeval.policy.heads.mamba import MambaHead
from worldeval.policy.heads.parts import Parts
from worldeval.policy.recipe import NOISE_LEVELS, PolicyRecipe
from worldeval.policy.sizes import Sizes

TASK = 8  # numbers of a task's embedding, and of a word's
TOKENS = ("dita", "act-jepa")  # heads that read patches of the images

PolicyHead = (
    BcHead
    | FlowHead
    | DiffusionHead
    | A2aHead
    | CarpHead
    | EbtHead
    | BesoHead
    | DitaHead
    | MambaHead
    | ActJepaHead
)


def parts_of(recipe: PolicyRecipe, sizes: Sizes) -> Parts:
    """Size the parts of the feature that the recipe's head reads."""
    rows, columns, squeeze = sizes.image[0] // 8, sizes.image[1] // 8, recipe.network.squeeze
    merged = not rows % 2 and not columns % 2  # 2x2 cells make a patch, where they fit
    reads = recipe.head in TOKENS
    cells = len(recipe.views) * rows * columns
    longest = max(len(words_of(task)) for task in sizes.tasks)
    return Parts(
        seen=recipe.network.embed,
        task=TASK,
        pose=sizes.pose_dim,
        moments=recipe.sight.moments,
        goal=recipe.network.embed + 1 if recipe.sight.goal else 0,
        tokens=(cells // 4 if merged else cells) if reads else 0,
        token=(4 * squeeze if merged else squeeze) if reads else 0,
        words=longest if recipe.head == "dita" else 0,
        word=TASK if recipe.head == "dita" else 0,
    )


def words_of(task: str) -> list[str]:
    """The words of a task's text; a text without any is one word."""
    return re.findall(r"\w+", task.lower()) or [task]


def build_head(recipe: PolicyRecipe, parts: Parts, action_dim: int) -> PolicyHead:
    """Build the recipe's head for features of `parts`."""
    hidden, chunk, target = recipe.network.hidden, recipe.chunk, recipe.chunk * action_dim
    levels, steps = NOISE_LEVELS, recipe.ddim_steps
    heads: dict[str, Callable[[], PolicyHead]] = {
        "bc": lambda: BcHead(parts.width, hidden, target, recipe.loss),
        "flow": lambda: FlowHead(parts.width, hidden, target, recipe.flow_steps),
        "diffusion": lambda: DiffusionHead(parts.width, hidden, target, levels=levels, steps=steps),
        "a2a": lambda: A2aHead(parts, hidden, target, recipe.a2a),
        "carp": lambda: CarpHead(parts, target, recipe.carp, chunk=chunk),
        "ebt": lambda: EbtHead(parts, target, recipe.ebt, chunk=chunk),
        "beso": lambda: BesoHead(parts, hidden, target, recipe.beso),
        "dita": lambda: DitaHead(
            parts, target, recipe.dita, chunk=chunk, levels=levels, steps=steps
        ),
        "mamba": lambda: MambaHead(parts, hidden, target, recipe.mamba),
        "act-jepa": lambda: ActJepaHead(parts, target, recipe.act_jepa, chunk=chunk),
    }
    return heads[recipe.head]()
