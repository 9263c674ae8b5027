"""The instructions that a judge reads, as embeddings."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from worldeval.axes import Float
from worldeval.errors import UserError, did_you_mean
from worldeval.world.text import embed_texts


class Instructions:
    """Embeddings of known instructions, and of others while the text encoder is there."""

    def __init__(self, texts: Sequence[str], words: Float[Tensor, "n c"], *, encoder: Path) -> None:
        self._words = dict(zip(texts, words, strict=True))
        self._encoder = encoder

    def knows(self, text: str) -> bool:
        """Whether the instruction was learned from, or can be read."""
        return text in self._words or (self._encoder / "config.json").is_file()

    def embedded(self, texts: Sequence[str]) -> Float[Tensor, "b c"]:
        """Return the embedding of each instruction.

        Raises:
            UserError: one was not learned from, and the text encoder is not there.
        """
        new = [text for text in dict.fromkeys(texts) if text not in self._words]
        if unknown := [text for text in new if not self.knows(text)]:
            raise UserError(
                f"The judge has not learned from the instruction '{unknown[0]}', and its text "
                f"encoder {self._encoder} is not there.{did_you_mean(unknown[0], self._words)}"
            )
        if new:
            self._words |= dict(zip(new, embed_texts(self._encoder, new), strict=True))
        return torch.stack([self._words[text] for text in texts])
