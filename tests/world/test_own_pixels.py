"""Objects found by a rule, with known answers: a hand that its pose draws, and a coloured block."""

import numpy as np
import pytest
import torch

from worldeval.data.source import Head, Rows, Source, SourceSpec
from worldeval.data.table import RecordedEpisodes
from worldeval.world.own_pixels import Background, kept, objects_of
from worldeval.world.pose_only import PoseOnly
from worldeval.world.tokenizer.frame_tokenizer import FrameTokenizer
from worldeval.world.tokenizer.frames import TokenizerFrames

SIDE, EPISODES = 32, 240


class Blocks(Source):
    """Episodes of one frame: a hand where the pose says, and a 5 x 5 block elsewhere every time."""

    def __init__(self, path, colour: int = 250, side: int = 5) -> None:
        rng = np.random.default_rng(0)
        self.findings = []
        self.spec = SourceSpec(
            format="blocks", path=path, fps=10.0, views={"top": (SIDE, SIDE)},
            action_names=("dx",), pose_names=("x",),
        )  # fmt: skip
        self.heads = [Head(id=f"{i}", length=1, task="push", success=None) for i in range(EPISODES)]
        self.pose = rng.uniform(0, 1, (EPISODES, 1)).astype(np.float32)
        self.images = np.full((EPISODES, SIDE, SIDE, 3), 90, np.uint8)
        self.block = rng.integers(10, SIDE - side, (EPISODES, 2))
        for image, pose, (row, column) in zip(self.images, self.pose, self.block, strict=True):
            image[:6] = np.uint8(90 + 100 * pose[0])  # the hand
            image[row : row + side, column : column + side, 0] = colour

    def rows(self, index: int) -> Rows:
        return Rows(actions=np.full((1, 1), index, np.float32), pose=self.pose[index : index + 1])

    def frames(self, index: int, view: str, rows=None) -> np.ndarray:
        return self.images[index : index + 1][... if rows is None else rows]


class Same(FrameTokenizer):
    """Its latents are the frames, from which `lost` of every difference from grey is taken."""

    def __init__(self, lost: float = 0.0) -> None:
        super().__init__()
        self.lost = torch.nn.Parameter(torch.tensor(lost))

    def encode(self, frames, task, view):
        return frames

    def decode(self, latents, task, view):
        return 90 / 255 + (latents - 90 / 255) * (1 - self.lost)


def test_the_pose_explains_the_hand_and_not_the_block(tmp_path) -> None:
    data = Blocks(tmp_path)
    recorded = RecordedEpisodes([data])
    rows, task = np.arange(EPISODES), np.zeros(EPISODES, np.int64)
    background = Background(recorded, rows[:200], task[:200], tasks=1)
    own = background.own({"top": data.images[200:]}, data.pose[200:], task[200:])
    found = np.asarray(own["top"].contrast.any(3))
    assert not found[:, :6].any()
    wanted = np.zeros_like(found)
    for mask, (row, column) in zip(wanted, data.block[200:], strict=True):
        mask[row : row + 5, column : column + 5] = True
    assert (found == wanted).mean() > 0.99 and own["top"].pixels.mean() == pytest.approx(25, abs=8)


def test_the_kept_share_is_one_for_the_frame_and_nothing_for_the_background(tmp_path) -> None:
    data = Blocks(tmp_path)
    rows, task = np.arange(EPISODES), np.zeros(EPISODES, np.int64)
    background = Background(RecordedEpisodes([data]), rows, task, tasks=1)
    own = background.own({"top": data.images}, data.pose, task)
    assert kept(own, {"top": data.images}) == pytest.approx(1.0, abs=0.02)
    empty = (255 * own["top"].background).round().astype(np.uint8)
    assert kept(own, {"top": empty}) == pytest.approx(0.0, abs=0.03)
    half = (255 * (own["top"].background + own["top"].contrast / 2)).round().astype(np.uint8)
    assert kept(own, {"top": half}) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("colour", "lost", "pixels", "share"),
    [(250, 0.0, 25, 1.0), (250, 0.8, 25, 0.2), (95, 0.0, 0, None)],
)
def test_a_card_says_whether_objects_are_seen(tmp_path, colour, lost, pixels, share) -> None:
    """A clear block, one that the tokenizer blurs, and one of the table's colour."""
    recorded = RecordedEpisodes([Blocks(tmp_path, colour)])
    frames = TokenizerFrames(recorded, ("push",))
    found = objects_of(Same(lost), frames, np.arange(200, EPISODES))["push"]
    assert found["pixels"] == pytest.approx(pixels, abs=4)
    if share is None:
        assert found["kept"] is None
    else:
        assert found["kept"]["value"] == pytest.approx(share, abs=0.12)
        assert found["kept"]["n"] == 40


def test_every_task_has_a_mean_of_its_own() -> None:
    pose, task = torch.linspace(-1, 1, 200)[:, None], torch.arange(200) % 2
    values = torch.where(task == 0, 3.0, pose[:, 0].sin())[:, None]
    found = PoseOnly(pose, task, [(slice(0, 200), values)], tasks=3)
    torch.testing.assert_close(found(pose, task), values, atol=0.03, rtol=0)
    assert not found(pose, torch.full((200,), 2)).any()  # a task without frames
