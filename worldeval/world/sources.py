"""Datasets as worlds read them: turned to numbers without jumps, in pictures of one size."""

from worldeval.data.adapt import AdaptedSource, ChosenEpisodes, without_jumps
from worldeval.data.source import Source
from worldeval.errors import UserError
from worldeval.world.protocol import ANY_TASK, WorldSpec
from worldeval.world.recipe import WorldRecipe

MANY = 100  # tasks; more of them are free words, and not told apart


def to_train_on(source: Source, recipe: WorldRecipe) -> Source:
    """A dataset as the recipe wants it trained on."""
    if recipe.turned:
        source = without_jumps(source)
    if recipe.size and any(size != recipe.size for size in source.spec.views.values()):
        source = AdaptedSource(source, size=recipe.size)
    return source


def as_trained(source: Source, world: WorldSpec) -> Source:
    """The data as `world` was trained on it: worlds of angles are read with angles."""
    turned = without_jumps(source)
    if len(turned.spec.pose_names) == world.pose_dim:
        source = turned
    views = source.spec.views
    if any(views.get(view, world.size) != world.size for view in world.views):
        source = AdaptedSource(source, size=world.size)
    return source


def with_latents(source: Source) -> Source:
    """The episodes of a dataset that come with precomputed latents.

    Raises:
        UserError: none of them does.
    """
    usable = [index for index in range(len(source)) if source.has_latents(index)]
    if not usable:
        raise UserError(f"{source.spec.path} ({source.spec.format}) comes with no latents.")
    return source if len(usable) == len(source) else ChosenEpisodes(source, usable)


def tasks_of(sources: list[Source]) -> tuple[str, ...]:
    """The tasks that a world tells apart, in order; `ANY_TASK` alone where they are free words.

    Tasks are told apart where there are at most 100, and two episodes of one on average.
    """
    every = [head.task for source in sources for head in source.heads]
    names = tuple(sorted(set(every)))
    return names if len(names) <= MANY and 2 * len(names) <= len(every) else (ANY_TASK,)
