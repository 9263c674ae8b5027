"""Windows are drawn evenly, or from every dataset of a mixture by its weight."""

from pathlib import Path

import pytest
import torch

from worldeval.data.draws import OUTSIDE, Draws
from worldeval.data.weighted import Weighted, read_weighted, shares, weighted
from worldeval.errors import UserError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn_from(draws: Draws, part: torch.Tensor, count: int = 20_000) -> dict[int, float]:
    """Share of the draws of every dataset; rows are their own places."""
    owner = part[draws(count, generator())]
    return {int(each): float((owner == each).float().mean()) for each in part.unique()}


def test_alone_a_dataset_is_drawn_from_as_torch_does() -> None:
    rows = torch.arange(100, 150)
    own = rows[torch.randint(50, (32,), generator=generator(3))]
    assert torch.equal(Draws(rows)(32, generator(3)), own)


def test_weights_are_shares_whatever_the_sizes() -> None:
    part = torch.tensor([0] * 10 + [1] * 990)
    draws = Draws(torch.arange(1000), part=part, weights=(3, 1))
    assert drawn_from(draws, part) == pytest.approx({0: 0.75, 1: 0.25}, abs=0.01)
    counts = torch.bincount(draws(20_000, generator()), minlength=1000)
    assert (counts[:10] > 1300).all()  # each of the few alike


def test_what_has_no_weight_comes_as_often_as_the_mean_row() -> None:
    part = torch.tensor([0] * 10 + [1] * 90 + [OUTSIDE] * 300)
    draws = Draws(torch.arange(400), part=part, weights=(1, 1))
    expected = {0: 0.125, 1: 0.125, OUTSIDE: 0.75}
    assert drawn_from(draws, part) == pytest.approx(expected, abs=0.01)


def test_some_of_the_rows_keep_the_weights() -> None:
    part = torch.tensor([0, 1] * 50)
    few = Draws(torch.arange(100), part=part, weights=(1, 4)).where(torch.arange(100) < 20)
    assert int(few(1000, generator()).max()) < 20
    assert drawn_from(few, part[:20]) == pytest.approx({0: 0.2, 1: 0.8}, abs=0.01)


def test_a_dataset_without_a_window_gives_its_share_to_the_others() -> None:
    part = torch.tensor([1] * 10)
    assert drawn_from(Draws(torch.arange(10), part=part, weights=(1, 1)), part) == {1: 1.0}
    assert shares([1, 1, 2], [0, 5, 5]).tolist() == pytest.approx([0, 1 / 3, 2 / 3])


def test_a_folder_and_its_weight(tmp_path: Path) -> None:
    assert read_weighted("a/b") == Weighted(path=Path("a/b"), weight=1.0)
    assert read_weighted("a/b:0.3") == Weighted(path=Path("a/b"), weight=0.3)
    named = tmp_path / "run:2"
    named.mkdir()
    assert read_weighted(str(named)) == Weighted(path=named)
    assert weighted(named) == (Weighted(path=named),)


@pytest.mark.parametrize("text", ["a:0", "a:-1", "a:much", "a:nan", "a:"])
def test_what_is_no_weight(text: str) -> None:
    with pytest.raises(UserError, match="is not a valid weight of a"):
        read_weighted(text)


def test_nothing_to_draw_from_is_refused() -> None:
    with pytest.raises(UserError, match="long enough for the windows"):
        Draws(torch.zeros(0, dtype=torch.int64))(3, torch.Generator())
