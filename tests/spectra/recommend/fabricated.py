"""A run with known curvature and noise, made without a model: samples of a random quadratic problem."""

import json

import numpy as np
import xarray as xr

from spectra.recommend import OptimizerSpec


def fabricated_run(
    *,
    optimizer: str | None = "sgd",
    steps: tuple[int, ...] = (0, 10, 20),
    curvature: float = 4.0,
    noise: float = 1.0,
    gradient: float = 3.0,
    batch_size: int = 32,
    residual: float = 0.01,
    smallest: float = -0.5,
    seed: int = 0,
    planned: int | None = None,
    candidates: tuple[tuple[float, float, float], ...] = (),
    confirmations: tuple[tuple[float, float, float, float], ...] = (),
    **attrs: object,
) -> xr.DataTree:
    """Return a run of ``len(steps)`` stages with top curvature ``curvature`` and noise of order ``noise``.

    Each candidate is a learning rate, the top curvature where its steps lead, and the loss there (NaN: diverged). A
    confirmation has the loss midway before the last loss.
    """
    rng = np.random.default_rng(seed)
    count, size, dimension, directions = 24, 16, 8, 3
    hessian = np.diag(np.linspace(curvature, curvature / 8, dimension))
    stages = []

    def noise_grams(matrix: np.ndarray) -> np.ndarray:
        grams = []
        for index in range(directions):
            mean = matrix[:, index]
            rows = mean + np.sqrt(noise / dimension / size) * rng.standard_normal((count, dimension))
            grams.append(rows @ rows.T)
        return np.stack(grams)

    for step in steps:
        grams = noise_grams(hessian)
        gradients = gradient * np.eye(dimension)[0] + rng.standard_normal((count, dimension)) / np.sqrt(size)
        stages.append(
            xr.Dataset(
                {
                    "loss": 1.0 / (1 + step),
                    "curvature": ("direction", np.diag(hessian)[:directions].copy()),
                    "residual": ("direction", np.full(directions, residual * abs(curvature))),
                    "start_curvature": ("start", np.array([curvature, curvature * 0.999])),
                    "smallest_curvature": smallest,
                    "curvature_noise_gram": (("direction", "micro_batch", "other"), grams),
                    "gradient_gram": (("micro_batch", "other"), gradients @ gradients.T),
                    "gradient_curvature_gram": (("micro_batch", "other"), gradients @ hessian @ gradients.T),
                },
                coords={"stage": step},
            )
        )
    root = {
        "schema": "spectra/run",
        "schema_version": 1,
        "task": "fabricated:task",
        "description": "",
        "optimizer": OptimizerSpec(kind=optimizer).to_json() if optimizer else "",  # type: ignore[arg-type]
        "batch_size": batch_size,
        "num_samples": 1024,
        "dimension": dimension,
        "dtype": "float64",
        "device": "cpu",
        "space": "parameters",
        "reference_size": 512,
        "micro_batch_size": size,
        "num_micro_batches": count,
        "max_krylov_steps": 60,
        "num_planned_stages": planned or len(steps),
        "planned_spectrum": 0,
        "is_trained": 0,
        "seed": seed,
        "plan": json.dumps({}),
        "notes": "",
        "num_matvecs": 100,
        "num_gradients": 72,
        "seconds": 1.0,
        "status": "complete",
        "created": "2026-01-01T00:00:00+00:00",
        "software": json.dumps({"python": "3"}),
        **attrs,
    }
    parts = {"/": xr.Dataset(attrs=root)}
    if stages:
        parts["/stages"] = xr.concat(stages, dim="stage")

    def followed(rate: float, top: float, loss: float) -> xr.Dataset:
        there = np.diag(np.linspace(top, top / 8, dimension))
        alive = np.isfinite(loss)
        return xr.Dataset(
            {
                "loss": loss,
                "curvature": ("direction", np.diag(there)[:directions] if alive else np.full(directions, np.nan)),
                "residual": ("direction", np.full(directions, residual * top if alive else np.nan)),
                "start_curvature": ("start", np.array([top, np.nan])),
                "smallest_curvature": smallest,
                "curvature_noise_gram": (("direction", "micro_batch", "other"), noise_grams(there)),
                "training_loss": ("step", np.linspace(1.0, loss, 40)),
            },
            coords={"learning_rate": rate},
        )

    if candidates:
        parts["/candidates"] = xr.concat([followed(*candidate) for candidate in candidates], dim="candidate")
    if confirmations:
        parts["/confirmations"] = xr.concat(
            [followed(rate, top, loss).assign(midway_loss=midway) for rate, top, midway, loss in confirmations],
            dim="candidate",
        )
    return xr.DataTree.from_dict(parts)
