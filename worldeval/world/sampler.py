"""How many steps a world's sampler may take for a frame: chosen again after training, and checked.

A world says it by `World.sampler`, its recipe by `WorldRecipe.sampler`: the card of a stored world
tells before any weights are read.
"""

from worldeval.errors import UserError


def allowed_steps(sampler: range, steps: int) -> int:
    """`steps` where a sampler that may take any of `sampler` can take them.

    Raises:
        UserError: it cannot, or there is no sampler; says what there is.
    """
    if not sampler:
        raise UserError(
            f"{steps} steps of the sampler are asked for, and this world model has no sampler with "
            "steps: it imagines a frame at once (families `latent` and `rssm`). Leave the number "
            "of steps out."
        )
    if steps not in sampler:
        raise UserError(
            f"{steps} steps of the sampler are asked for; this world model's takes "
            f"{sampler[0]} to {sampler[-1]}."
        )
    return steps
