"""The observed inputs of every mode: the newest frames, the gripper, and the task."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from worldeval.axes import Bool, Float, Int


@dataclass(frozen=True, kw_only=True)
class UwmContext:
    """The moment from which a chunk starts, for a batch of episodes. Latents are standardised."""

    latent: Float[Tensor, "b v d h w"]  # the newest frame
    previous: Float[Tensor, "b v d h w"]  # the frame before; ignored without history
    first: Float[Tensor, "b v d h w"]  # the episode's first frame: observed, never imagined
    pose: Float[Tensor, "b p"]
    past_pose: Float[Tensor, "b p"]  # of the frame before; ignored without history
    command: Float[Tensor, "b c"]  # commanded position of the robot; ignored without history
    task: Int[Tensor, " b"]
    history: Bool[Tensor, " b"]  # whether more than the newest frame is known

    def __len__(self) -> int:
        return len(self.task)

    def to(self, device: torch.device, *, non_blocking: bool = False) -> "UwmContext":
        """Move to another device."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        return UwmContext(
            **{key: x.to(device, non_blocking=non_blocking) for key, x in own.items()}
        )

    def known(self, commanded: list[int]) -> "UwmContext":
        """Replace ignored inputs by the newest ones, so that nothing unknown leaks.

        `commanded` lists the pose columns that have a command.
        """
        row = self.history[:, None]
        cells = row[..., None, None, None]
        return UwmContext(
            latent=self.latent,
            previous=torch.where(cells, self.previous, self.latent),
            first=self.first,
            pose=self.pose,
            past_pose=torch.where(row, self.past_pose, self.pose),
            command=torch.where(row, self.command, self.pose[:, commanded]),
            task=self.task,
            history=self.history,
        )
