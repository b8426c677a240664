"""The networks that the benchmarks of curvature products measure. Run on its own it prints their sizes and losses.

Each function returns a :class:`probes.Task` in evaluation mode: model, loss and equal batches ``(inputs, target)`` of
real data, the same at every call. Networks that train in seconds have taken some steps of Adam, for at initialization
the Hessian of a network is not that of one in training.

==============  ==========  ===================================================================================
name            parameters  model, data of one batch
==============  ==========  ===================================================================================
``mlp32``       85k         64-256-256-10, tanh; 32 digits of 8 x 8 pixels
``mlp512``      85k         the same; 512 digits
``cnn``         24k         three convolutions, ReLU; 32 digits
``resnet20``    272k        ResNet-20 with batch normalization in evaluation mode; 16 digits enlarged to 3 x 32 x 32
``gpt``         117k        two causal layers of width 64; 8 x 64 characters
``gpt4``        826k        four causal layers of width 128; 8 x 64 characters
``minilm``      22.6M       the MiniLM transformer, pretrained; 8 x 32 tokens
==============  ==========  ===================================================================================
"""

from collections.abc import Callable
from typing import Any

from environment import set_threads


def mlp32(*, num_batches: int = 1) -> Any:
    """Return the multilayer perceptron with batches of 32."""
    return mlp(name="mlp32", batch_size=32, num_batches=num_batches)


def mlp512(*, num_batches: int = 1) -> Any:
    """Return the multilayer perceptron with batches of 512."""
    return mlp(name="mlp512", batch_size=512, num_batches=num_batches)


def mlp(*, batch_size: int, num_batches: int, name: str = "mlp") -> Any:
    """Return the multilayer perceptron 64-256-256-10."""
    from torch import nn

    images, labels = _digits()
    _seed()
    model = nn.Sequential(
        nn.Linear(64, 256), nn.Tanh(), nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, 10)
    )  # of which no activation has a kink: the float64 reference is that of the same function
    return _trained(name, model, images, labels, batch_size, num_batches, steps=60)


def cnn(*, num_batches: int = 1, batch_size: int = 32) -> Any:
    """Return the convolutional network."""
    from torch import nn

    images, labels = _digits()
    _seed()
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    return _trained("cnn", model, images.reshape(-1, 1, 8, 8), labels, batch_size, num_batches, steps=60)


def resnet20(*, num_batches: int = 1, batch_size: int = 16) -> Any:
    """Return a ResNet-20 whose batch normalization uses the statistics of a short training."""
    from torch.nn import functional

    images, labels = _digits()
    images = functional.interpolate(images[:640].reshape(-1, 1, 8, 8), size=32, mode="bilinear").expand(-1, 3, -1, -1)
    _seed()
    return _trained(
        "resnet20", _resnet20(), images.contiguous(), labels[:640], batch_size, num_batches, steps=40, samples=32
    )


def gpt(*, num_batches: int = 1, batch_size: int = 8) -> Any:
    """Return the small causal transformer."""
    return _gpt("gpt", width=64, num_layers=2, batch_size=batch_size, num_batches=num_batches)


def gpt4(*, num_batches: int = 1, batch_size: int = 8) -> Any:
    """Return the larger causal transformer."""
    return _gpt("gpt4", width=128, num_layers=4, batch_size=batch_size, num_batches=num_batches)


def minilm(*, num_batches: int = 1, batch_size: int = 8) -> Any:
    """Return the pretrained transformer of 22 million parameters.

    Raises
    ------
    ImportError
        The package that brings its weights is not installed.
    """
    from probes import examples

    task = examples.minilm(num_sentences=batch_size * num_batches, batch_size=batch_size)
    task.model.eval()
    return task


NETWORKS: dict[str, Callable[..., Any]] = {
    "mlp32": mlp32,
    "mlp512": mlp512,
    "cnn": cnn,
    "resnet20": resnet20,
    "gpt": gpt,
    "gpt4": gpt4,
    "minilm": minilm,
}


def _seed() -> None:
    import torch

    torch.manual_seed(0)


def _digits() -> tuple[Any, Any]:
    """Return all digits in an order drawn once, pixels in 0..1."""
    from probes.examples import digits_mlp

    ((images, labels),) = digits_mlp(batch_size=1797).data
    return images, labels


def _gpt(name: str, *, width: int, num_layers: int, batch_size: int, num_batches: int) -> Any:
    import torch

    from probes.examples.characters import CharacterTransformer, char_transformer

    data = char_transformer().data
    codes, target = (torch.cat([batch[side] for batch in data]) for side in (0, 1))
    _seed()
    model = CharacterTransformer(width=width, num_layers=num_layers)
    return _trained(name, model, codes, target, batch_size, num_batches, steps=20, samples=16)


def _trained(
    name: str,
    model: Any,
    inputs: Any,
    target: Any,
    batch_size: int,
    num_batches: int,
    *,
    steps: int,
    samples: int = 64,
) -> Any:
    """Take steps of Adam over all data; return the task of the first batches."""
    import torch

    from probes import Task

    if batch_size * num_batches > len(inputs):
        raise ValueError(f"{name} has {len(inputs)} samples; {num_batches} batches of {batch_size} are more.")
    loss = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for step in range(steps):
        chosen = torch.arange(step * samples, (step + 1) * samples) % len(inputs)
        optimizer.zero_grad()
        loss(model(inputs[chosen]), target[chosen]).backward()
        optimizer.step()
    optimizer.zero_grad()
    with torch.no_grad():  # lets the running statistics of batch normalization reach those of the final parameters
        for step in range(steps):
            model(inputs[torch.arange(step * samples, (step + 1) * samples) % len(inputs)])
    data = list(zip(inputs.split(batch_size), target.split(batch_size), strict=True))[:num_batches]
    return Task(model.eval(), loss, data, name=name)


def _resnet20() -> Any:
    """Return He et al. (2016), section 4.2, n = 3, with 1 x 1 convolutions where the width changes."""
    from torch import nn

    class Block(nn.Module):
        """Two convolutions, added to their input."""

        def __init__(self, before: int, width: int, stride: int) -> None:
            super().__init__()
            self.branch = nn.Sequential(
                nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
            )
            self.shortcut = nn.Identity()
            if before != width:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(before, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width)
                )
            self.activation = nn.ReLU()

        def forward(self, images: Any) -> Any:
            return self.activation(self.branch(images) + self.shortcut(images))

    layers: list[Any] = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    before = 16
    for width in (16, 32, 64):
        for index in range(3):
            layers.append(Block(before, width, 2 if width > before and index == 0 else 1))
            before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def main() -> None:
    """Print what there is."""
    set_threads(1)
    import torch

    from probes.objective import forward

    for name, build in NETWORKS.items():
        try:
            task = build()
        except ImportError as error:
            print(f"{name:10s} left out: {error}")
            continue
        (batch,) = task.batches
        with torch.no_grad():
            value = float(task.loss(forward(task.model, batch, task.output), batch.target))
        size = sum(p.numel() for p in task.model.parameters() if p.requires_grad)
        print(f"{name:10s} {size:9d} parameters, {batch.size} samples, loss {value:.3f}")


if __name__ == "__main__":
    main()
