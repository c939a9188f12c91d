"""PyTorch modules that tests convert, and functions that make them; copied beside the programs saved of them."""

import torch
from torch import nn

SIDE = 16


class Classifier(nn.Module):
    """A small CNN as people write it, without torchvision."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2)
        )
        self.head = nn.Linear(8, 5)

    def forward(self, image):
        return self.head(torch.flatten(nn.functional.adaptive_avg_pool2d(self.features(image), 1), 1))


class MobileBlock(nn.Module):
    """A block as MobileNetV3 has it: hard-swish, depthwise, squeeze and excite; its output is an image."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.wide = nn.Conv2d(8, 8, 5, padding=2, groups=8)
        self.down, self.up = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.swish = nn.Hardswish(inplace=True)

    def forward(self, image):
        entry = self.swish(self.norm(self.first(image)))
        wide = self.swish(self.wide(entry))
        gate = nn.functional.relu(self.down(nn.functional.adaptive_avg_pool2d(wide, 1)))
        return wide * nn.functional.hardsigmoid(self.up(gate)) + entry


class TwoInputs(nn.Module):
    """Takes an image and a vector, and answers with a table of two outputs."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(9, 2)

    def forward(self, image, vector):
        features = self.conv(image)
        return {"score": self.head(torch.cat([features.mean((2, 3)), vector], 1)).softmax(1), "map": features.relu()}


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, steps):
        return self.head(self.lstm(steps)[0][:, -1])


class Named(nn.Module):
    """Takes its input by name, which a TFLite model cannot."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 2)

    def forward(self, *, vector):
        return self.head(vector)


class Inconvertible(nn.Module):
    def forward(self, matrix):
        return torch.linalg.svdvals(matrix)


def seeded(kind):
    torch.manual_seed(0)
    return kind().eval()


def classifier():
    return seeded(Classifier)


def mobile_block():
    return seeded(MobileBlock)


def two_inputs():
    return seeded(TwoInputs)


def recurrent():
    return seeded(Recurrent)


def inconvertible():
    return Inconvertible()


def number():
    return 3


def failing():
    raise ValueError("weights.pth is not here")


def needy():
    import no_such_package_here  # noqa: PLC0415 - that it is not there is the point

    return no_such_package_here


READY = seeded(Classifier)
