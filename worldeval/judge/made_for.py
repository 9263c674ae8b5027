"""Compare a judge with a world model before anything is imagined."""

from collections.abc import Iterable
from dataclasses import dataclass

from worldeval.errors import UserError
from worldeval.world.protocol import WorldSpec

SAME_RATE = 0.01  # relative difference of frame rates that is attributed to rounding


@dataclass(frozen=True, kw_only=True)
class MadeFor:
    """The world model that a judge was trained in. What is empty or None is not known."""

    latent: tuple[int, int, int, int]  # v d h w
    pose_dim: int
    views: tuple[str, ...] = ()
    fps: float | None = None
    tokenizer: str = ""  # fingerprint of its weights

    def differences(self, world: WorldSpec, tokenizer: str) -> Iterable[str]:
        """Say what differs in the world model; what is not known does not differ."""
        shape = (len(world.views), *world.latent)
        if self.latent != shape:
            yield f"latents of shape {_shape(self.latent)}, not {_shape(shape)}"
        if self.views and self.views != world.views:
            yield f"the views {', '.join(self.views)}, not {', '.join(world.views)}"
        if self.pose_dim != world.pose_dim:
            yield f"{self.pose_dim} numbers of proprioception, not {world.pose_dim}"
        if self.fps is not None and abs(self.fps / world.fps - 1) > SAME_RATE:
            yield f"{self.fps:g} frames per second, not {world.fps:g}"
        if self.tokenizer and tokenizer and self.tokenizer != tokenizer:
            yield f"the tokenizer {self.tokenizer}, not {tokenizer}"


def refuse_mismatch(
    made_for: MadeFor, world: WorldSpec, tokenizer: str, *, judge: str, where: str
) -> None:
    """Raise UserError if the judge cannot judge what the world model imagines.

    Args:
        tokenizer: fingerprint of the world model's tokenizer; "" if it is not known.
        judge, where: names of the judge and the world model for the error's text.
    """
    found = list(made_for.differences(world, tokenizer))
    if found:
        raise UserError(
            f"The judge {judge} was not trained in the world model {where}: it judges "
            f"{'; '.join(found)}. Train one for it: worldeval judge train --world {where}."
        )


def _shape(sizes: tuple[int, ...]) -> str:
    return " x ".join(map(str, sizes))
