"""Time to the tangent kernel of a network: from the structure of its layers, and from rows of its Jacobian.

For each network and dtype, one after the other in turn (the mean kernel of an output, ``outputs="trace"``):

* ``auto``: ``probes.empirical_ntk``, which takes one of the next two, and what it costs to choose;
* ``structured``: ``probes.empirical_ntk(..., method="structured")``, its check against rows of the Jacobian included;
* ``contraction``: the same with ``method="contraction"``;
* ``jacrev``: ``vmap(jacrev(...))`` of a functional call, contracted parameter by parameter: what tutorials show.

Wall and processor time are medians; ratios are of one way over ``structured``, and of the faster of the two ways over
``auto``. Every kernel is compared with that of
``jacrev``, relatively, in the norm of all entries.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from environment import arguments, set_threads, write

set_threads(1)

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.func import functional_call, jacrev, vmap  # noqa: E402
from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402

from probes import empirical_ntk  # noqa: E402
from probes.examples.characters import CharacterTransformer  # noqa: E402

REPEATS = 7


class Pooled(nn.Module):
    """A transformer whose outputs are means over positions."""

    def __init__(self, width: int, num_layers: int = 1) -> None:
        super().__init__()
        self.body = CharacterTransformer(width=width, num_layers=num_layers)
        self.head = nn.LazyLinear(3)

    def forward(self, codes: Tensor) -> Tensor:
        """Return three outputs for each sequence."""
        found = self.body(codes)
        return self.head(found.mean(dim=1 if found.shape[1] == codes.shape[1] else 2))


def mlp(width: int) -> nn.Module:
    """Return a network 20-width-width-3."""
    return nn.Sequential(nn.Linear(20, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 3))


def cnn() -> nn.Module:
    """Return two convolutions and a linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(8, 16, 3, stride=2),
        nn.Tanh(),
        nn.Flatten(),
        nn.LazyLinear(3),
    )


def large_cnn() -> nn.Module:
    """Return three convolutions and a linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(3),
    )


def cases(*, quick: bool) -> dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]]:
    """Return networks and their inputs."""
    n = 20 if quick else 200
    return {
        "mlp": (lambda: mlp(128), lambda: torch.randn(n, 20)),
        "wide_mlp": (lambda: mlp(256), lambda: torch.randn(n, 20)),
        "cnn": (cnn, lambda: torch.randn(n // 2, 1, 8, 8)),
        "transformer": (lambda: Pooled(32), lambda: torch.randint(0, 20, (n // 4, 16))),
        "large_cnn": (large_cnn, lambda: torch.randn(3 * n // 2, 1, 12, 12)),
        "large_transformer": (lambda: Pooled(80, 2), lambda: torch.randint(0, 20, (n // 2, 16))),
    }


def by_jacrev(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return the kernel as tutorials do."""
    named = {name: p.detach() for name, p in model.named_parameters()}

    def of_sample(parameters: dict[str, Tensor], sample: Tensor) -> Tensor:
        return functional_call(model, parameters, (sample[None],))[0]

    # Fused attention can be mapped by a loop only.
    with sdpa_kernel(SDPBackend.MATH):
        rows = vmap(jacrev(of_sample), (None, 0))(named, inputs)
    parts = [row.flatten(2).transpose(0, 1) for row in rows.values()]
    return torch.stack([(part @ part.mT).mean(0) for part in parts]).sum(0)


def timed(call: Callable[[], Tensor]) -> tuple[float, float, Tensor]:
    """Return wall time, processor time, and the kernel."""
    wall, processor = time.perf_counter(), time.process_time()
    found = call()
    return time.perf_counter() - wall, time.process_time() - processor, found


def measure(model: nn.Module, inputs: Tensor, repeats: int) -> dict[str, Any]:
    """Time all ways in turn."""
    ways: dict[str, Callable[[], Tensor]] = {
        "auto": lambda: empirical_ntk(model, inputs).kernel,
        "structured": lambda: empirical_ntk(model, inputs, method="structured").kernel,
        "contraction": lambda: empirical_ntk(model, inputs, method="contraction").kernel,
        "jacrev": lambda: by_jacrev(model, inputs),
    }
    kernels = {name: call() for name, call in ways.items()}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for repeat in range(repeats):
        # There and back, for what comes after a way that takes much memory is slower.
        for name, call in list(ways.items())[:: 1 if repeat % 2 else -1]:
            times[name].append(timed(call)[:2])
    scale = float(torch.linalg.norm(kernels["jacrev"]))
    result: dict[str, Any] = {
        name: {
            "wall_seconds": statistics.median(wall for wall, _ in found),
            "processor_seconds": statistics.median(processor for _, processor in found),
            "fastest_wall_seconds": min(wall for wall, _ in found),
            "difference": float(torch.linalg.norm(kernels[name] - kernels["jacrev"])) / scale,
        }
        for name, found in times.items()
    }
    for name in ("contraction", "jacrev"):
        for kind in ("wall_seconds", "processor_seconds", "fastest_wall_seconds"):
            result[f"{name}_over_structured_{kind}"] = result[name][kind] / result["structured"][kind]
    for kind in ("wall_seconds", "processor_seconds", "fastest_wall_seconds"):
        best = min(result["structured"][kind], result["contraction"][kind])
        result[f"best_over_auto_{kind}"] = best / result["auto"][kind]
    return {"auto_takes": empirical_ntk(model, inputs).method, **result}


def main() -> None:
    """Run it."""
    options = arguments(__doc__).parse_args()
    rows = []
    for name, (build, draw) in cases(quick=options.quick).items():
        for dtype in (torch.float64, torch.float32):
            torch.manual_seed(0)
            model, inputs = build(), draw()
            with torch.no_grad():
                model(inputs[:1])
            model = model.to(dtype).eval()
            inputs = inputs.to(dtype) if inputs.is_floating_point() else inputs
            row = {
                "network": name,
                "dtype": str(dtype).removeprefix("torch."),
                "num_parameters": sum(p.numel() for p in model.parameters()),
                "num_samples": len(inputs),
                "num_outputs": 3,
                **measure(model, inputs, 2 if options.quick else REPEATS),
            }
            rows.append(row)
            print({key: value for key, value in row.items() if "over" in key or key == "network"}, file=sys.stderr)
    write({"benchmark": "ntk", "rows": rows}, options.output)


if __name__ == "__main__":
    main()
