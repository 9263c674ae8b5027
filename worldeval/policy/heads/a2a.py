"""Action-to-Action flow matching (A2A): the flow starts at the encoded past, not at noise.

Jia et al., "Action-to-Action Flow Matching" (arXiv 2602.07322): the recent proprioceptive states
and the next action chunk are encoded as latents z0 and z1; a velocity field, conditioned on the
observation, moves z0 to z1 along straight paths (conditional flow matching, Lipman et al., 2023,
eq. 9 with a learned source), and a decoder returns the chunk. Because the past is close to the
future, one Euler step suffices.

What differs:
- Encoders, decoder and field are small MLPs, where the paper has convolutions and residual MLPs.
- The contrastive terms between images and actions (weights of 1e-4 and 0) are left out.
- Past states are poses of world frames, each of which may last several control steps.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from worldeval.policy.heads.denoise import FREQUENCIES, Noise, Warm, embedded, layers
from worldeval.policy.heads.parts import Parts
from worldeval.policy.heads.settings import A2aSettings


class A2aHead(nn.Module):
    """A flow between latents of past poses and of the next actions; it draws no random numbers."""

    def __init__(self, parts: Parts, hidden: int, target: int, settings: A2aSettings) -> None:
        super().__init__()
        self.parts, self.settings = parts, settings
        latent = settings.latent
        self.past = layers(parts.moments * parts.pose, hidden, latent)
        self.future = layers(target, hidden, latent)
        self.decode = layers(latent, hidden, target)
        self.field = layers(latent + 2 * FREQUENCIES + parts.width, hidden, latent)

    def loss(
        self,
        feature: Float[Tensor, "b d"],
        target: Float[Tensor, "b ka"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Flow matching, the distance to where the flow ends, and both decoded chunks (L1)."""
        z0, z1 = self.begin(feature), self.future(target)
        s = torch.rand(len(target), 1, generator=generator).to(feature)
        flow = F.mse_loss(self.velocity(torch.lerp(z0, z1, s), s, feature), z1 - z0)
        arrived = self.flow(z0, feature, self.settings.steps)
        apart = F.mse_loss(arrived, z1)
        decoded = F.l1_loss(self.decode(arrived), target) + F.l1_loss(self.decode(z1), target)
        return flow + self.settings.consistency * apart + decoded

    def act(
        self, feature: Float[Tensor, "b d"], generators: Noise, warm: Warm | None = None
    ) -> Float[Tensor, "b ka"]:
        """Move the encoded past to the next chunk; noise and a warm start are not used."""
        return self.decode(self.flow(self.begin(feature), feature, self.settings.steps))

    def begin(self, feature: Float[Tensor, "b d"]) -> Float[Tensor, "b z"]:
        """Encode the poses of all moments: z0."""
        poses = self.parts.split(feature).history[..., self.parts.seen :]
        return self.past(poses.flatten(1))

    def flow(
        self, z: Float[Tensor, "b z"], feature: Float[Tensor, "b d"], steps: int
    ) -> Float[Tensor, "b z"]:
        """Take Euler steps from z0."""
        for step in range(steps):
            s = torch.full_like(z[:, :1], step / steps)
            z = z + self.velocity(z, s, feature) / steps
        return z

    def velocity(
        self, z: Float[Tensor, "b z"], s: Float[Tensor, "b 1"], feature: Float[Tensor, "b d"]
    ) -> Float[Tensor, "b z"]:
        """The field at latents `z` and flow times `s`."""
        return self.field(torch.cat([z, embedded(s), feature], dim=-1))
