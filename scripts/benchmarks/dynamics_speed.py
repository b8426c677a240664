"""Speed of predicted loss curves: closed form, recursion, and the exponential stepper against general collocation.

* the closed form at 1000 logarithmic times up to 10^6 steps, for 1000 modes;
* nanoseconds per step and mode of the recursion (what schedules cost), plain and with momentum;
* time to solve the continuous Volterra equation to a given accuracy, stepper against the collocation of ``voles``, a
  general solver of Volterra equations. It is GPL and no dependency: install it aside and name the folder in PYTHONPATH,
  or this part is left out.

Each solver is run at growing resolution until its largest relative error is below the tolerance; the time is that of
the first resolution that is, including the evaluation of forcing and kernel on its grid. Solvers are timed in turn.
"""

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from environment import environment, set_threads, write

set_threads(1)

import numpy as np  # noqa: E402

from spectra.dynamics import Quadratic, compress, from_marchenko_pastur, sgd_curve, stability, volterra_exponential  # noqa: E402
from spectra.dynamics.closed_form import ContinuousForm  # noqa: E402

REPEATS = 5


def best_time(call: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the median time of a call."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def closed_form(modes: int) -> dict[str, float]:
    """Time a curve of 10^6 steps."""
    problem = from_marchenko_pastur(0.5, dimension=modes, noise=0.25, num_nodes=modes)
    rate = 0.5 * stability(problem, closure="limit").closure_learning_rate
    record = np.unique(np.geomspace(1, 10**6, 1000).round().astype(int))

    def call() -> object:
        return sgd_curve(
            problem, closure="limit", learning_rate=rate, num_steps=10**6, record=record, solver="closed_form"
        )

    call()
    return {"modes": modes, "num_times": len(record), "seconds": best_time(call)}


def compressed_form(modes: int) -> dict[str, float]:
    """Time the same after compression, which is part of the call."""
    problem = from_marchenko_pastur(0.5, dimension=modes, noise=0.25, num_nodes=modes)
    rate = 0.5 * stability(problem, closure="limit").closure_learning_rate
    record = np.unique(np.geomspace(1, 10**6, 1000).round().astype(int))

    def call(model: Quadratic) -> np.ndarray:
        curve = sgd_curve(
            model, closure="limit", learning_rate=rate, num_steps=10**6, record=record, solver="closed_form"
        )
        return curve["loss"].values

    error = float(np.max(np.abs(call(compress(problem)) / call(problem) - 1)))
    return {"modes": modes, "seconds": best_time(lambda: call(compress(problem))), "error": error}


def recursion(modes: int, *, momentum: float) -> dict[str, float]:
    """Time steps of a schedule."""
    problem = from_marchenko_pastur(0.5, dimension=modes, noise=0.25, num_nodes=modes)
    steps = 4000
    rates = np.linspace(1, 0.5, steps) * 0.3 / modes * (1 - momentum)

    def call() -> object:
        return sgd_curve(
            problem, closure="limit", learning_rate=rates, momentum=momentum, num_steps=steps, record=[steps]
        )

    call()
    seconds = best_time(call)
    return {
        "modes": modes,
        "momentum": momentum,
        "microseconds_per_step": 1e6 * seconds / steps,
        "nanoseconds_per_step_and_mode": 1e9 * seconds / steps / modes,
    }


class Equation:
    """The continuous equation of Marchenko-Pastur at 0.8 of critical, with its solution from an eigendecomposition."""

    def __init__(self, modes: int, epochs: float) -> None:
        problem = from_marchenko_pastur(0.5, dimension=2 * modes, noise=0.25, num_nodes=modes)
        rate = 0.8 * stability(problem, closure="continuous").closure_learning_rate
        self.problem, self.learning_rate = problem, rate
        self.rates = 2 * rate * problem.eigenvalue
        self.coefficients = rate**2 * problem.multiplicity * problem.eigenvalue**2
        self.losses, self.floor = problem.initial_loss, problem.floor
        self.end = epochs * float(problem.num_samples or 0)
        b = np.sqrt(self.coefficients)
        # an oracle of its own: the nonsymmetric form u' = -a u + k (F* + sum u), not the symmetric one of the library
        self._drops, vectors = np.linalg.eig(np.diag(self.rates) - np.outer(self.coefficients, np.ones_like(b)))
        self._z = np.sum(vectors, axis=0)
        self._y = np.linalg.solve(vectors, np.stack([self.losses, self.coefficients], axis=1))

    def forcing(self, t: np.ndarray) -> np.ndarray:
        """F on a grid."""
        return self.floor + np.exp(-np.outer(t, self.rates)) @ self.losses

    def kernel(self, t: np.ndarray) -> np.ndarray:
        """K on a grid."""
        return np.exp(-np.outer(t, self.rates)) @ self.coefficients

    def solution(self, t: np.ndarray) -> np.ndarray:
        """Return the exact curve."""
        decay = np.exp(-np.outer(t, self._drops))
        kept, fed = self._z * self._y[:, 0], self._z * self._y[:, 1]
        return np.real(self.floor + decay @ kept + self.floor * ((1 - decay) / self._drops) @ fed)

    def error(self, t: np.ndarray, psi: np.ndarray) -> float:
        """Largest relative error."""
        exact = self.solution(t)
        return float(np.max(np.abs(psi / exact - 1)))

    def closed_form(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Solve by the eigendecomposition of the library."""
        t = np.concatenate([[0.0], np.geomspace(1e-3 / self.rates.max(), self.end, count)])
        form = ContinuousForm(self.problem, learning_rate=self.learning_rate, noise=1.0)
        return t, form.curve(t).loss

    def compressed(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Compress the modes, then the same."""
        t = np.concatenate([[0.0], np.geomspace(1e-3 / self.rates.max(), self.end, count)])
        form = ContinuousForm(compress(self.problem), learning_rate=self.learning_rate, noise=1.0)
        return t, form.curve(t).loss

    def stepper(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Solve on a grid that grows with time."""
        t = np.concatenate([[0.0], np.geomspace(1e-3 / self.rates.max(), self.end, count)])
        return t, volterra_exponential(t, self.forcing(t), coefficients=self.coefficients, rates=self.rates)

    def collocation(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Solve with voles on samples of forcing and kernel."""
        import voles

        t = np.linspace(0, self.end, count)
        psi = voles.solve_VIE_2(
            kernel_values=self.kernel(t), g_values=self.forcing(t), time_step=float(t[1]), show_warnings=False
        )
        psi = np.asarray(psi)
        return t[: len(psi)], psi

    def graded_collocation(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Solve with voles on a mesh that grows with time, from functions."""
        import voles

        t = np.concatenate([[0.0], np.geomspace(1e-1 / self.rates.max(), self.end, count)])
        psi = voles.function_solve_VIE_2(
            kernel=lambda u: self.kernel(np.atleast_1d(u)).reshape(np.shape(u)),
            g=lambda u: float(self.forcing(np.atleast_1d(u))[0]),
            mesh_breakpoints=t,
            show_warnings=False,
        )
        ends = np.asarray(psi).reshape(count, -1)[:, -1]  # values at the nodes of each interval, the last is its end
        return t[1:], ends


def to_accuracy(equation: Equation, solve: Callable[[int], tuple], tolerance: float, most: int) -> dict:
    """Return the first resolution that reaches a tolerance, and its time."""
    count, error = 64, np.inf
    while count <= most:
        error = equation.error(*solve(count))
        if error <= tolerance:
            return {"points": count, "error": error, "seconds": best_time(partial(solve, count), 3)}
        count *= 2
    return {"points": count // 2, "error": error, "seconds": None}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    options = parser.parse_args()
    result: dict = {"environment": environment()}
    result["closed_form"] = [closed_form(modes) for modes in (100, 1000)]
    result["compressed"] = [compressed_form(modes) for modes in (1000, 2000)]
    result["recursion"] = [recursion(modes, momentum=beta) for modes in (100, 1000) for beta in (0.0, 0.9)]
    has_voles = importlib.util.find_spec("voles") is not None
    result["continuous"] = []
    for modes, epochs in ((200, 20), (200, 200), (200, 2000), (1000, 250)):
        equation = Equation(modes, epochs)
        for tolerance in (1e-3, 1e-5, 1e-7):
            row: dict = {"modes": modes, "epochs": epochs, "steps": equation.end, "tolerance": tolerance}
            row["closed_form"] = to_accuracy(equation, equation.closed_form, tolerance, 64)
            row["compressed"] = to_accuracy(equation, equation.compressed, tolerance, 64)
            row["stepper"] = to_accuracy(equation, equation.stepper, tolerance, 2**13)
            if has_voles:
                row["collocation"] = to_accuracy(equation, equation.collocation, tolerance, 2**16)
                row["graded_collocation"] = to_accuracy(equation, equation.graded_collocation, tolerance, 2**8)
                for name in ("collocation", "graded_collocation"):
                    for ours in ("closed_form", "compressed", "stepper"):
                        if row[name]["seconds"] and row[ours]["seconds"]:
                            row[f"{name}_over_{ours}"] = row[name]["seconds"] / row[ours]["seconds"]
            result["continuous"].append(row)
            print(row, file=sys.stderr, flush=True)
    write(result, options.output)


if __name__ == "__main__":
    main()
