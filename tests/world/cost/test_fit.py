"""What recipes cost, and which batches fit a GPU."""

from dataclasses import replace

import pytest
import torch

from worldeval.errors import UserError
from worldeval.recipe import load
from worldeval.world.cost.fit import (
    BATCHES,
    ENOUGH,
    imagination_cost,
    training_cost,
)
from worldeval.world.cost.imagine import Imagining
from worldeval.world.cost.machine import (
    GIB,
    GPUS,
    RESERVED,
    USABLE,
    described_gpu,
    known_gpu,
    memory_of,
)
from worldeval.world.cost.train import HELD, training_step
from worldeval.world.dit.cache import SPARE
from worldeval.world.families import family
from worldeval.world.recipe import WorldRecipe
from worldeval.world.size import layout_of

SMALL = ("latent-droid", "dit-droid", "uwm-droid", "rssm-droid", "ctrl-world-tiny-droid")
H200 = known_gpu("H200")


def recipe_of(name: str) -> tuple[str, WorldRecipe]:
    found = load(name, "model")
    if found.kind == "ctrl_world":
        pytest.importorskip("diffusers")
    return found.kind, found.config


@pytest.mark.parametrize("name", SMALL)
def test_every_family_can_be_costed(name: str) -> None:
    kind, recipe = recipe_of(name)
    imagining = Imagining(kind, recipe)
    one, four = imagining.cost(1), imagining.cost(4)
    assert four.work.flops == pytest.approx(4 * one.work.flops, rel=0.01)
    assert one.growth > 0
    with torch.device("meta"):
        world = family(kind).new(layout_of(recipe), recipe)
    numbers = [*world.parameters(), *world.buffers()]
    assert one.weights == pytest.approx(sum(each.nbytes for each in numbers), rel=0.01)
    two = training_step(kind, recipe, 2)
    four_rows = training_step(kind, recipe, 4)
    assert four_rows.work.flops == pytest.approx(2 * two.work.flops, rel=0.05)
    assert four_rows.peak > two.peak
    assert four_rows.held == two.held
    assert two.work.flops / 2 > one.work.flops / max(one.steps, 1) / one.frames


def test_many_sampler_steps_follow_from_two() -> None:
    kind, recipe = recipe_of("dit-droid")
    imagining = Imagining(kind, recipe)
    found, counted = imagining.cost(2, steps=5), imagining._call(2, steps=5)
    assert found.work.flops == counted.work.flops
    assert found.work.launches == counted.work.launches
    assert found.steps == 5


def test_a_transformer_costs_what_its_formula_says() -> None:
    kind, recipe = recipe_of("dit-droid")
    recipe = replace(recipe, memory=0)  # type: ignore[call-arg]
    imagining = Imagining(kind, recipe)
    spec, width = layout_of(recipe), recipe.width  # type: ignore[attr-defined]
    depth, window = recipe.depth, recipe.window  # type: ignore[attr-defined]
    tokens = len(spec.views) * spec.latent[1] * spec.latent[2] // 16
    block = 24 * width**2 * tokens + 4 * tokens * (window + 1) * tokens * width
    more = imagining.cost(1, steps=2).work - imagining.cost(1, steps=1).work
    assert more.flops == pytest.approx(depth * block, rel=0.12)  # conditions, patches, head
    assert more.flops > depth * block


def test_keys_and_values_are_what_the_cache_holds() -> None:
    kind, recipe = recipe_of("dit-droid")
    spec = layout_of(recipe)
    tokens = len(spec.views) * spec.latent[1] * spec.latent[2] // 16
    numbers = 2 * recipe.depth * tokens * recipe.width  # type: ignore[attr-defined]
    least = recipe.window  # type: ignore[attr-defined]
    most = least + 1 + recipe.memory + SPARE  # type: ignore[attr-defined]
    cache = Imagining(kind, recipe).cost(3).cache
    assert 2 * 3 * numbers * least <= cache <= 2 * 3 * numbers * most  # bfloat16


def test_training_holds_weights_optimiser_and_average() -> None:
    kind, recipe = recipe_of("rssm-droid")
    with torch.device("meta"):
        world = family(kind).new(layout_of(recipe), recipe)
    trained = sum(each.numel() for each in world.parameters())
    assert training_step(kind, recipe, 2).held == pytest.approx(HELD * trained, rel=0.01)


def test_checkpointing_trades_memory_for_arithmetic() -> None:
    kind, recipe = recipe_of("dit-droid")
    plain = training_step(kind, recipe, 4)
    spare = training_step(kind, replace(recipe, checkpoint=True), 4)  # type: ignore[call-arg]
    assert spare.peak < plain.peak
    assert spare.work.flops > plain.work.flops


def test_the_batch_to_take_fits_and_is_nearly_the_fastest() -> None:
    cost = imagination_cost(*recipe_of("dit-droid"))
    best = cost.best(H200)
    assert best is not None
    rows = [cost.row(each, H200) for each in BATCHES]
    fastest = max(row.eager for row in rows if row.fits)
    assert best.eager >= ENOUGH * fastest
    assert all(row.eager < ENOUGH * fastest for row in rows if row.batch < best.batch)
    assert all(row.eager <= row.compiled <= row.arithmetic for row in rows)
    memory = [row.memory for row in rows]
    assert memory == sorted(memory)
    computed = Imagining(*recipe_of("dit-droid")).cost(8)
    assert cost.row(8, H200).compiled == pytest.approx(
        8 / computed.work.compiled_seconds(H200), rel=0.1
    )


def test_a_small_gpu_takes_a_part_of_the_batch_or_none() -> None:
    kind, recipe = recipe_of("dit-droid")
    recipe = replace(recipe, trainer=replace(recipe.trainer, batch=12))
    cost = training_cost(kind, recipe)
    assert cost.most(H200) == 12
    needed = cost.row(6, H200).memory
    part = described_gpu(f"{1.01 * (needed + RESERVED) / USABLE / GIB}GiB", 100)
    assert cost.most(part) == 6
    assert cost.most(described_gpu("0.9GiB", 100)) == 0
    assert imagination_cost(kind, recipe).best(described_gpu("0.1GiB", 100)) is None


def test_sizes_and_gpus_are_read_as_people_write_them() -> None:
    assert memory_of("24GiB") == memory_of("24") == memory_of("24 gib") == 24 * GIB
    assert memory_of("80 GB") == 80e9
    assert memory_of("1.5TiB") == 1.5 * 2**40
    for wrong in ("", "GiB", "-1GiB", "1e400", "24 apples", "nan"):
        with pytest.raises(UserError, match="is no size"):
            memory_of(wrong)
    assert known_gpu("h100") in GPUS
    with pytest.raises(UserError, match=r"Did you mean 'H100'\?.*|known: "):
        known_gpu("H10")
    with pytest.raises(UserError, match="positive"):
        described_gpu("24GiB", 0)
    assert described_gpu("24GiB", 250).bandwidth == pytest.approx(1e12)
    assert described_gpu("24GiB", 250, 3.0).bandwidth == 3e12
