"""Tasks read by a tiny random CLIP in a local folder."""

import json
from pathlib import Path

import pytest
import torch

from worldeval.errors import UserError
from worldeval.world.ctrl_world.text import embed_tasks

WIDTH = 6  # of the embedding


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("clip")
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{each}</w>" for each in letters)]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 12})
    )
    torch.manual_seed(0)
    config = transformers.CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=8,
        intermediate_size=16,
        projection_dim=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=12,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    transformers.CLIPTextModelWithProjection(config).save_pretrained(folder)
    return folder


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
    with pytest.raises(UserError, match="do not tile a token of 7"):
        embed_tasks(clip, ["open"], width=7)
    with pytest.raises(UserError, match="no CLIP text encoder"):
        embed_tasks(tmp_path, ["open"], width=6)
