"""Cuts: their frames are the episode's, their order follows the seed, their edges are masked."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from worldeval.data.mixture import CutRecipe, Mixture, MixturePart
from worldeval.data.source import Head, Rows, Source, SourceSpec
from worldeval.errors import UserError


class Counted(Source):
    """Every frame shows its own number, and so do its action and pose."""

    def __init__(self, *lengths: int, views: tuple[str, ...] = ("top",), size: int = 1) -> None:
        self.spec = SourceSpec(
            format="memory",
            path=Path("memory"),
            fps=5.0,
            views=dict.fromkeys(views, (4, 4)),
            action_names=("a",) * size,
            pose_names=("x",),
        )
        self.findings = []
        self.heads = [
            Head(id=str(i), length=n, task=f"t{i}", success=True) for i, n in enumerate(lengths)
        ]

    def rows(self, index: int) -> Rows:
        count = np.arange(self.heads[index].length, dtype=np.float32)[:, None]
        return Rows(actions=count.repeat(len(self.spec.action_names), axis=1), pose=-count)

    def frames(self, index: int, view: str, rows=None):
        rows = np.arange(self.heads[index].length) if rows is None else rows
        return np.tile(rows[:, None, None, None], (1, 4, 4, 3)).astype(np.uint8)


def shown(frames: np.ndarray) -> list[int]:
    return frames[:, 0, 0, 0].tolist()


def at(mixture: Mixture, newest: int):
    return next(cut for cut in mixture.epoch(0) if cut.newest == newest)


def test_a_cut_in_the_middle() -> None:
    cut = at(Mixture([MixturePart(source=Counted(20))], CutRecipe(context=2, future=3), seed=0), 10)
    assert shown(cut.frames["top"]) == [9, 10, 11, 12, 13]
    assert cut.actions[:, 0].tolist() == [9, 10, 11, 12, 13]
    assert cut.pose[:, 0].tolist() == [-9, -10, -11, -12, -13]
    assert cut.mask.all()


def test_over_the_edges_the_nearest_frame_is_repeated_and_masked() -> None:
    mixture = Mixture([MixturePart(source=Counted(5))], CutRecipe(context=3, future=2), seed=0)
    assert shown(at(mixture, 0).frames["top"]) == [0, 0, 0, 1, 2]
    assert at(mixture, 0).mask.tolist() == [False, False, True, True, True]
    assert shown(at(mixture, 4).frames["top"]) == [2, 3, 4, 4, 4]
    assert at(mixture, 4).mask.tolist() == [True, True, True, False, False]


def test_skipping_frames_keeps_all_their_actions() -> None:
    mixture = Mixture(
        [MixturePart(source=Counted(20))], CutRecipe(context=2, future=1, skip=3), seed=0
    )
    cut = at(mixture, 10)
    assert shown(cut.frames["top"]) == [7, 10, 13]
    assert cut.actions.tolist() == [[7, 8, 9], [10, 11, 12], [13, 14, 15]]


def test_memory_is_older_than_the_context() -> None:
    recipe = CutRecipe(context=2, future=0, memory=4)
    for cut in Mixture([MixturePart(source=Counted(12))], recipe, seed=3).epoch(0):
        if cut.newest > 1:
            assert cut.memory_mask.all()
            assert max(shown(cut.memory["top"])) < cut.newest - 1
            assert cut.memory_pose[:, 0].tolist() == [-n for n in shown(cut.memory["top"])]
        else:
            assert not cut.memory_mask.any()


def test_every_frame_is_newest_once_in_an_epoch() -> None:
    mixture = Mixture([MixturePart(source=Counted(4, 7))], CutRecipe(), seed=0)
    seen = sorted((cut.episode, cut.newest) for cut in mixture.epoch(2))
    assert seen == [("0", n) for n in range(4)] + [("1", n) for n in range(7)]


def test_the_seed_decides_and_an_epoch_goes_on_where_it_stopped() -> None:
    def made(seed: int) -> Mixture:
        return Mixture([MixturePart(source=Counted(40))], CutRecipe(memory=2), seed=seed)

    def order(cuts) -> list[tuple]:
        return [(cut.newest, *shown(cut.memory["top"])) for cut in cuts]

    whole = order(made(1).epoch(0))
    assert order(made(1).epoch(0, begin=25)) == whole[25:]
    assert order(made(1).epoch(1)) != whole
    assert order(made(2).epoch(0)) != whole


def test_weights_are_shares_of_the_cuts() -> None:
    parts = [MixturePart(source=Counted(300), weight=1), MixturePart(source=Counted(100), weight=3)]
    mixture = Mixture(parts, CutRecipe(context=1, future=0), seed=0)
    drawn = [cut.part for cut in islice(mixture.epoch(0), 400)]
    assert drawn.count(1) == 300
    assert 60 < drawn[:100].count(1) < 90


def test_held_out_episodes_are_never_drawn() -> None:
    mixture = Mixture([MixturePart(source=Counted(5, 5, 5), episodes=[0, 2])], CutRecipe(), seed=0)
    assert {cut.episode for cut in mixture.epoch(0)} == {"0", "2"}


def test_views_that_all_have() -> None:
    parts = [MixturePart(source=Counted(5, views=("top", "wrist"))), MixturePart(source=Counted(5))]
    assert Mixture(parts, CutRecipe(), seed=0).views == ("top",)
    with pytest.raises(UserError, match="Camera 'wrist' is not in"):
        Mixture(parts, CutRecipe(views=("wrist",)), seed=0)


def test_mistakes() -> None:
    with pytest.raises(UserError, match="Dimensions of action and pose differ"):
        Mixture(
            [MixturePart(source=Counted(5)), MixturePart(source=Counted(5, size=2))],
            CutRecipe(),
            seed=0,
        )
    with pytest.raises(UserError, match="No episode is left"):
        Mixture([MixturePart(source=Counted(5), episodes=[])], CutRecipe(), seed=0)
    with pytest.raises(UserError, match="share no view"):
        Mixture(
            [MixturePart(source=Counted(5)), MixturePart(source=Counted(5, views=("b",)))],
            CutRecipe(),
            seed=0,
        )
