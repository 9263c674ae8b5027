"""ResNet-18 with group normalisation, under torchvision's names: UWM's image encoder.

He et al., "Deep Residual Learning for Image Recognition" (2015); group normalisation with 16
channels a group replaces batch normalisation, and `fc` is as wide as the features.
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from worldeval.axes import Float

WIDTHS = (64, 128, 256, 512)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


class ImageEncoder(nn.Module):
    """Encode every frame of every view by itself, and concatenate."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.model = ResNet18(width)

    def forward(self, images: Float[Tensor, "b v 3 t h w"]) -> Float[Tensor, "b c"]:
        mean, std = (torch.tensor(each, device=images.device).view(3, 1, 1) for each in (MEAN, STD))
        flat = rearrange(images, "b v c t h w -> (b v t) c h w")
        found = self.model((flat - mean) / std)
        return found.unflatten(0, (len(images), -1)).flatten(1)


class ResNet18(nn.Module):
    """Four levels of two blocks, then the mean over the image and a linear layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = _norm(WIDTHS[0])
        before = (WIDTHS[0], *WIDTHS[:-1])
        levels = [
            nn.Sequential(_Basic(low, high, 1 + (low != high)), _Basic(high, high, 1))
            for low, high in zip(before, WIDTHS, strict=True)
        ]
        self.layer1, self.layer2, self.layer3, self.layer4 = levels
        self.fc = nn.Linear(WIDTHS[-1], width)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c"]:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        for level in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = level(x)
        return self.fc(x.mean((2, 3)))


class _Basic(nn.Module):
    def __init__(self, low: int, high: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(low, high, 3, stride=stride, padding=1, bias=False)
        self.bn1 = _norm(high)
        self.conv2 = nn.Conv2d(high, high, 3, padding=1, bias=False)
        self.bn2 = _norm(high)
        self.downsample = None
        if stride > 1:
            shortcut = nn.Conv2d(low, high, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, _norm(high))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d y x"]:
        kept = x if self.downsample is None else self.downsample(x)
        found = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(found + kept)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(channels // 16, channels)
