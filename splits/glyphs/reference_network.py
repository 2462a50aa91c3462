"""A small convolutional network that says which images are naturally hard; it is never evaluated.

It computes in float64: two machines then differ by rounding so small that the network gets the same images
wrong on both, and the split made of them is the same data.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

EPOCHS = 5
BATCH = 32
PEAK_RATE = 0.08  # one-cycle, SGD with momentum
DECAY = 2e-3
SHIFT = 3  # pixels a batch is moved by, either way: without it the network learns its few images by heart


def network(classes: int, generator: torch.Generator) -> nn.Module:
    """Three strided convolutions and a linear classifier on 4 × 4 positions, float64."""
    layers, channels = [], 1
    for width, kernel in ((12, 5), (24, 3), (64, 3)):
        strided = nn.Conv2d(channels, width, kernel, stride=2, padding=kernel // 2, bias=False)
        layers += [strided, nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * 4 * 4, classes)).double()
    for parameter in layers.parameters():
        if parameter.dim() > 1:
            nn.init.kaiming_normal_(parameter, generator=generator)
    nn.init.zeros_(layers[-1].bias)
    return layers


def as_input(images: np.ndarray) -> torch.Tensor:
    """uint8 [n, 32, 32, 1] → float64 [n, 1, 32, 32], each image with mean 0 and deviation 1."""
    x = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).double()
    deviation, mean = torch.std_mean(x, dim=(1, 2, 3), keepdim=True)
    return (x - mean) / (deviation + 1.0)


def train(images: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> nn.Module:
    """The network after EPOCHS over the training images, on one thread whatever is configured."""
    generator = torch.Generator().manual_seed(seed)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        net = network(classes, generator)
        y = torch.tensor(labels)
        steps = EPOCHS * (len(y) // BATCH)
        optimiser = torch.optim.SGD(net.parameters(), PEAK_RATE, momentum=0.9, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, total_steps=steps)
        bar = tqdm(total=steps, desc="training the reference network", unit="step", mininterval=2)
        for _ in range(EPOCHS):
            order = torch.randperm(len(y), generator=generator)
            for batch in order[: len(y) // BATCH * BATCH].split(BATCH):
                by = torch.randint(-SHIFT, SHIFT + 1, (2,), generator=generator).tolist()
                moved = torch.roll(as_input(images[batch.numpy()]), by, dims=(2, 3))
                loss = functional.cross_entropy(net(moved), y[batch], label_smoothing=0.1)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                bar.update()
        bar.close()
    finally:
        torch.set_num_threads(threads)
    return net.eval()


def predict(net: nn.Module, images: np.ndarray) -> np.ndarray:
    """Probability of every class: float64 [n, classes]."""
    parts = np.split(images, range(512, len(images), 512))
    with torch.inference_mode():
        return torch.cat([net(as_input(part)).softmax(dim=1) for part in parts]).numpy()
