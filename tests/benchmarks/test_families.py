"""The comparison of families: what is timed, and what a row says."""

import importlib.util
from pathlib import Path
from types import ModuleType

from tests.support.dit import a_world

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_benchmark", BENCHMARKS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


families, world_speed = script("families"), script("world_speed")
HORIZONS, summary, table = families.HORIZONS, families.summary, families.table
LAYOUTS, chosen, speed = world_speed.LAYOUTS, world_speed.chosen, world_speed.speed


def test_speed_counts_every_view_of_every_episode() -> None:
    found = speed(a_world(), batch=2, steps=5, repeats=1)
    assert found["frames_per_second"] > 0 and found["peak_memory_mib"] > 0
    assert found["parameters"] > 1000 and found["views"] == 2
    assert found["decoded_frames_per_second"] is None  # this world cannot draw
    assert found["share_of_matrix_rate"] > 0


def test_more_steps_of_the_sampler_cost_more_multiplications() -> None:
    world = a_world()
    once = speed(world, batch=2, steps=3, repeats=1)["gigaflop_per_frame"]
    world.steps = 8
    assert speed(world, batch=2, steps=3, repeats=1)["gigaflop_per_frame"] > 2 * once


def test_a_recipe_is_timed_with_fresh_weights() -> None:
    name, family, world = chosen(None, "dit-droid", "droid", seed=0)
    assert (name, family) == ("dit-droid (droid, fresh weights)", "dit")
    assert world.spec == LAYOUTS["droid"]


def test_a_row_is_the_mean_over_views() -> None:
    def view(value: float) -> dict:
        names = ("psnr", "ssim", "copied_psnr", "copied_ssim", "ceiling_psnr")
        return {f"h{horizon}": {name: {"value": value} for name in names} for horizon in HORIZONS}

    found = {
        "episodes": 4,
        "pictures": {"side": view(20.0), "top": view(30.0)},
        "latents": {},
        "action_following": {
            "inverse_dynamics_mm": {
                name: {"value": 5.0} for name in ("imagined", "recorded", "still")
            },
            "actions": {"shuffled": {"h10": {"change": {"value": 0.7}}}},
        },
        "memory": None,
        "not_measured": {},
    }
    row = summary(found)
    assert row["pictures"]["psnr"] == {f"h{horizon}": 25.0 for horizon in HORIZONS}
    told = {
        "recipe": "mine",
        "training": {"steps": 10},
        "speed": {"frames_per_second": 1234.0, "peak_memory_mib": 500.0},
        "ranking": None,
        **row,
    }
    assert "| mine | 10 | 25.0 / 25.0 / 25.0 / 25.0 |" in table([told])
