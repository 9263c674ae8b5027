"""Tasks read by a tiny random CLIP in a local folder."""

from pathlib import Path

import pytest
import torch

from tests.support.clip import WIDTH
from worldeval.errors import UserError
from worldeval.world import text
from worldeval.world.ctrl_world.text import embed_tasks


def test_an_embedding_is_tiled_to_the_width_of_a_token(clip: Path) -> None:
    found = embed_tasks(clip, ["open", "close"], width=2 * WIDTH)
    assert found.shape == (2, 2 * WIDTH)
    assert torch.equal(found[:, :WIDTH], found[:, WIDTH:])
    assert not torch.allclose(found[0], found[1])


def test_a_task_means_the_same_beside_any_other(clip: Path) -> None:
    together = embed_tasks(clip, ["open", "close the door"], width=WIDTH)
    alone = embed_tasks(clip, ["open"], width=WIDTH)
    torch.testing.assert_close(together[:1], alone)


def test_a_width_that_it_does_not_tile_is_refused(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be tiled to a token of 9"):
        embed_tasks(clip, ["open"], width=9)
    with pytest.raises(UserError, match="no text encoder"):
        embed_tasks(tmp_path, ["open"], width=WIDTH)


def test_many_tasks_are_read_in_parts(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = ["open", "close", "push", "pull", "lift"]
    together = embed_tasks(clip, tasks, width=WIDTH)
    monkeypatch.setattr(text, "AT_ONCE", 2)
    torch.testing.assert_close(embed_tasks(clip, tasks, width=WIDTH), together)
