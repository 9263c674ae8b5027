from dataclasses import replace

import numpy as np
import torch

from worldeval.data.table import RecordedEpisodes
from worldeval.policy.batches import batches, to_images
from worldeval.policy.demos import gather
from worldeval.policy.recipe import AugmentRecipe

PLAIN = AugmentRecipe(shift=0, brightness=0.0, noise=0.0, blur=0.0)


def test_without_augmentation_a_batch_is_the_samples(shards: RecordedEpisodes) -> None:
    demos = gather(shards, [0, 30], ("side", "top"), chunk=2, after_success=2)
    batch = next(batches(demos, PLAIN, 16, np.random.default_rng(0)))
    pick = np.random.default_rng(0).integers(len(demos), size=16)
    torch.testing.assert_close(batch.images, to_images(torch.from_numpy(demos.frames[pick])))
    np.testing.assert_array_equal(batch.actions.numpy(), demos.actions[pick])
    np.testing.assert_array_equal(batch.task.numpy(), demos.task[pick])


def test_shift_moves_whole_pixels_and_repeats_the_border(shards: RecordedEpisodes) -> None:
    demos = gather(shards, [0], ("side",), chunk=1, after_success=2)
    ramp = np.broadcast_to(np.arange(32, dtype=np.uint8)[:, None], (32, 32, 3))
    # A picture whose brightness is its column.
    demos = replace(demos, frames=np.broadcast_to(ramp, demos.frames.shape).copy())
    batch = next(batches(demos, replace(PLAIN, shift=3), 64, np.random.default_rng(0)))
    column = ((batch.images[:, 0, 0, 0] + 1) * 127.5).round()
    moved = column[:, 16] - 16
    assert set(moved.tolist()) == {-3, -2, -1, 0, 1, 2, 3}
    expected = (torch.arange(32) + moved[:, None]).clamp(0, 31)
    torch.testing.assert_close(column, expected)


def test_images_are_in_range_and_vary(shards: RecordedEpisodes) -> None:
    demos = gather(shards, [0], ("side",), chunk=1, after_success=2)
    plain = next(batches(demos, PLAIN, 8, np.random.default_rng(0))).images
    assert plain.min() >= -1
    assert plain.max() <= 1
    varied = next(batches(demos, AugmentRecipe(), 8, np.random.default_rng(0))).images
    assert varied.shape == plain.shape
    assert not torch.equal(varied[0], varied[1])
