"""Curvature products on a CUDA device: every strategy and width of block, in units of plain double backward.

For each network, medians of interleaved rounds: one freshly rebuilt double backward (A) and one gradient (B) of plain
PyTorch, our Hessian and Gauss-Newton products per vector, and the largest memory of each beyond model and data.
Products are compared with float64 on the device.

    python scripts/benchmarks/gpu_products.py --output gpu_products.json
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networks
import torch
from environment import environment, write
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from probes import GaussNewtonOperator, HessianOperator, Task
from probes.examples.characters import CharacterTransformer

WIDTHS = {"gpt124": (1, 8)}
DEFAULT_WIDTHS = (1, 8, 32)


def gpt124() -> Task:
    """Return a transformer of the size of GPT-2 small without its large vocabulary, on 8 x 256 tokens."""
    torch.manual_seed(0)
    model = CharacterTransformer(width=768, num_heads=12, num_layers=12, length=256, num_classes=512)
    codes = torch.randint(512, (8, 257))
    return Task(model, nn.CrossEntropyLoss(), [(codes[:, :-1], codes[:, 1:])], name="gpt_85M")


MODELS: dict[str, Callable[[], Any]] = {
    "mlp512": networks.mlp512,
    "cnn": networks.cnn,
    "resnet20": lambda: networks.resnet20(batch_size=128),
    "gpt4": networks.gpt4,
    "gpt124": gpt124,
}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--reps", type=int, default=7)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("needs a CUDA device")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    found = {
        name: measure(MODELS[name](), arguments.reps, WIDTHS.get(name, DEFAULT_WIDTHS)) for name in arguments.models
    }
    device = torch.cuda.get_device_name(0)
    write({"environment": {**environment(), "device": device}, "networks": found}, arguments.output)


def measure(task: Any, reps: int, widths: tuple[int, ...]) -> dict[str, Any]:
    """Return medians and memory of one network."""
    model = task.model.cuda()
    batch = task.batches[0]
    parameters = [p for p in model.parameters() if p.requires_grad]
    size = sum(p.numel() for p in parameters)
    block = torch.randn(max(widths), size, generator=torch.Generator().manual_seed(0)).T.cuda()
    cuts = block[:, 0].split([p.numel() for p in parameters])
    rows = [row.reshape(p.shape) for row, p in zip(cuts, parameters, strict=True)]
    inputs, target = batch.inputs, batch.target

    def gradient() -> Any:
        return torch.autograd.grad(task.loss(model(inputs), target), parameters)

    def rebuilt() -> Any:
        slopes = torch.autograd.grad(task.loss(model(inputs), target), parameters, create_graph=True)
        return torch.autograd.grad(slopes, parameters, rows)

    acts: dict[str, tuple[Callable[[], Any], int]] = {"A": (rebuilt, 1), "B": (gradient, 1)}
    choices = {}
    for kind in (HessianOperator, GaussNewtonOperator):
        exact = kind(model, task.loss, [(inputs, target)], dtype=torch.float64, check=False, strategy="kept_graph")
        expected = exact @ block[:, :2].double()
        del exact
        torch.cuda.empty_cache()
        slow = ("differences", "compiled", "rebuilt_graph")
        for strategy in ("auto", *(s for s in kind.strategies if s not in slow)):
            for width in widths:
                operator = kind(model, task.loss, [(inputs, target)], check=False, strategy=strategy)
                name = f"{kind.name} {strategy} {width}"
                try:
                    product = operator @ block[:, :width]
                except Exception as error:
                    choices[name] = f"{type(error).__name__}: {str(error)[:120]}"
                    continue
                error = float(torch.linalg.vector_norm(product[:, 0] - expected[:, 0]) / expected[:, 0].norm())
                if error > 1e-3:
                    raise SystemExit(f"{name} is wrong: {error}")
                choices[name] = {"error": error, "strategy": operator.product_strategy, "width": operator.block_width}
                acts[name] = (lambda operator=operator, width=width: operator @ block[:, :width], width)
    seconds: dict[str, list[float]] = {name: [] for name in acts}
    memory = {}
    with sdpa_kernel(SDPBackend.MATH):
        for _ in range(reps):
            for name, (act, width) in acts.items():
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
                held = torch.cuda.memory_allocated()
                begin = time.perf_counter()
                act()
                torch.cuda.synchronize()
                seconds[name].append((time.perf_counter() - begin) / width)
                memory[name] = torch.cuda.max_memory_allocated() - held
    unit = statistics.median(seconds["A"])
    print(
        f"\n{task.name}: {size} parameters, A = {1e3 * unit:.2f} ms, B = {statistics.median(seconds['B']) / unit:.2f} A"
    )
    result = {}
    for name, times in seconds.items():
        ratio = statistics.median(t / a for t, a in zip(times, seconds["A"], strict=True))
        result[name] = {"ratio": ratio, "seconds": statistics.median(times), "bytes": memory[name]}
        chosen = choices.get(name, {})
        extra = chosen.get("strategy", "") if isinstance(chosen, dict) else ""
        print(f"  {name:36s} {ratio:7.3f} A   {memory[name] / 2**20:9.1f} MiB   {extra if ' auto ' in name else ''}")
    for name, failed in choices.items():
        if isinstance(failed, str):
            print(f"  {name:36s} {failed}")
    return {"parameters": size, "products": result, "choices": choices}


if __name__ == "__main__":
    main()
