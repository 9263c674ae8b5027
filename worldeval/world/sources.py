"""Prepare datasets for a world: continuous rotations and images of one size."""

from worldeval.data.adapt import AdaptedSource, ChosenEpisodes, without_jumps
from worldeval.data.source import Source
from worldeval.errors import UserError
from worldeval.world.protocol import ANY_TASK, WorldSpec
from worldeval.world.recipe import WorldRecipe

MANY = 100  # with more tasks than this, instructions are free text, not task labels


def to_train_on(source: Source, recipe: WorldRecipe) -> Source:
    """Convert a dataset to the form that the recipe trains on."""
    if recipe.turned:
        source = without_jumps(source)
    if recipe.size and any(size != recipe.size for size in source.spec.views.values()):
        source = AdaptedSource(source, size=recipe.size)
    return source


def as_trained(source: Source, world: WorldSpec) -> Source:
    """Convert a dataset to the form `world` was trained on; some worlds read angles."""
    turned = without_jumps(source)
    if len(turned.spec.pose_names) == world.pose_dim:
        source = turned
    views = source.spec.views
    if any(views.get(view, world.size) != world.size for view in world.views):
        source = AdaptedSource(source, size=world.size)
    return source


def with_latents(source: Source) -> Source:
    """Select the episodes of a dataset that have precomputed latents.

    Raises:
        UserError: no episode has them.
    """
    usable = [index for index in range(len(source)) if source.has_latents(index)]
    if not usable:
        raise UserError(f"{source.spec.path} ({source.spec.format}) has no precomputed latents.")
    return source if len(usable) == len(source) else ChosenEpisodes(source, usable)


def tasks_of(sources: list[Source]) -> tuple[str, ...]:
    """List the tasks that a world distinguishes, in order; only `ANY_TASK` for free instructions.

    Tasks are distinguished if there are at most 100, with two episodes each on average.
    """
    every = [head.task for source in sources for head in source.heads]
    names = tuple(sorted(set(every)))
    return names if len(names) <= MANY and 2 * len(names) <= len(every) else (ANY_TASK,)
