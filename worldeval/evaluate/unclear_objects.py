"""What a world's card says of the objects of the ranked tasks."""

from pathlib import Path

from worldeval.rollout.recipe import ProtocolRecipe
from worldeval.stats.findings import Finding
from worldeval.stats.task_findings import objects_unclear
from worldeval.world.load import CARD, read_card


def unclear_objects(recipe: ProtocolRecipe) -> list[Finding]:
    """Report tasks whose objects the world model cannot show; nothing if its card does not say."""
    folder = Path(recipe.world)
    if not recipe.world or not (folder / CARD).is_file():
        return []
    return objects_unclear(read_card(folder).get("objects") or {}, list(recipe.tasks))
