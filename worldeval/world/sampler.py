"""Check and change the number of sampler steps per frame after training.

A world declares the allowed numbers in `World.sampler` and its recipe in `WorldRecipe.sampler`, so
that the card of a stored world gives them before any weights are read.
"""

from worldeval.errors import UserError


def allowed_steps(sampler: range, steps: int) -> int:
    """Return `steps` if a sampler that accepts the numbers in `sampler` can take them.

    Raises:
        UserError: it cannot, or there is no sampler; the message gives the allowed range.
    """
    if not sampler:
        raise UserError(
            f"{steps} sampler steps were requested, but this world model has no such sampler: it "
            "imagines each frame in one pass (families `latent` and `rssm`). Leave the number of "
            "steps out."
        )
    if steps not in sampler:
        raise UserError(
            f"{steps} sampler steps were requested, but this world model's sampler takes "
            f"{sampler[0]} to {sampler[-1]}."
        )
    return steps
