"""Training sequences of `dit`, the inputs of each frame, and the straight-path loss."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from worldeval.axes import Float, Int
from worldeval.world.dit.network import Given, MemoryFrames, Sequence
from worldeval.world.dit.recipe import DitRecipe
from worldeval.world.features import PAST_ACTIONS, Motion
from worldeval.world.flow import along_path
from worldeval.world.training.windows import Windows, steps

BACK = 1 + PAST_ACTIONS  # frames before the first that its motion is computed from
FORGETFUL = 0.1  # share of frames trained without memory, so that imagination can do without


def sequence_of(
    windows: Windows,
    rows: Int[Tensor, " b"],
    length: int,
    recipe: DitRecipe,
    *,
    pose_offset: Float[Tensor, "b k"] | None = None,
) -> Sequence:
    """Build sequences whose first frames are `rows`; `length - 1` frames must follow each.

    `pose_offset` shifts the position in every pose of a sequence, like the drift of a robot.
    """
    now, older = rows[:, None] + torch.arange(length), None
    if recipe.memory:
        older = windows.older(now, than=now - recipe.window, count=recipe.memory)
    cut = windows.cut(
        rows,
        steps(BACK, length - 1),
        shown=slice(BACK - 1, None),
        start=True,
        older=older,
    )
    pose = cut.pose
    if pose_offset is not None:
        pose = windows.moved(pose, pose_offset[:, None])

    def ago(values: Tensor, frames: int) -> Tensor:
        """Values `frames` before each frame; episodes and frames are flattened into one axis."""
        return values[:, BACK - frames : BACK - frames + length].flatten(0, 1)

    motion = Motion(
        action=ago(cut.actions, 1),
        past_actions=torch.stack([ago(cut.actions, 2), ago(cut.actions, 3)], 1),
        pose=ago(pose, 1),
        past_poses=torch.stack([ago(pose, 2), ago(pose, 3)], 1),
        command=ago(cut.command, 1),
        next_command=ago(cut.command, 0),
        task=cut.task.repeat_interleave(length),
    )
    memory = None
    if older is not None:
        assert cut.older_latents is not None and cut.older_pose is not None
        memory = MemoryFrames(
            latents=cut.older_latents.flatten(0, 1),
            pose=cut.older_pose.flatten(0, 1),
            age=older.age.flatten(0, 1),
            there=older.there.flatten(0, 1),
        )
    assert cut.first is not None
    return Sequence(
        latents=cut.latents[:, 1:],
        before=cut.latents[:, 0],
        given=Given(
            previous=cut.latents[:, :-1].flatten(0, 1),
            first=cut.first.repeat_interleave(length, 0),
            motion=motion,
            next_pose=ago(pose, 0),
        ),
        memory=memory,
    )


def flow_loss(
    net: nn.Module,
    change: Float[Tensor, "b t v d h w"],
    sequence: Sequence,
    *,
    at_noise: float,
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """Squared error of the predicted change of all frames except the first; a share `at_noise` of
    the frames is trained at flow time 0."""
    noise = torch.randn(change.shape, generator=generator).to(change)
    # Flow times are spread evenly over the batch, in random order, which has a lower variance.
    count = change.shape[0] * change.shape[1]
    time = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    time = ((time - at_noise) / (1 - at_noise)).clamp_min(0)
    time = time[torch.randperm(count, generator=generator)].to(change)
    flat = along_path(noise.flatten(0, 1), change.flatten(0, 1), time)
    found = net(flat.view_as(change), time.view(change.shape[:2]), sequence)
    return (found - change)[:, 1:].square().mean()


def forgetting(sequence: Sequence, generator: torch.Generator) -> Sequence:
    """Remove the memory of some frames of the sequence."""
    memory = sequence.memory
    if memory is None:
        return sequence
    assert memory.there is not None
    kept = torch.rand(len(memory.there), 1, generator=generator) >= FORGETFUL
    return replace(sequence, memory=replace(memory, there=memory.there & kept.to(memory.there)))
