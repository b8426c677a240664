"""Estimators of the JAX libraries matfree and traceax, for `peers`. Nothing to run."""

from collections.abc import Callable
from typing import Any

import numpy as np
from peer_interface import Answer, Budget, Method


def matfree() -> list[Method]:
    """Return the methods of matfree."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp
    from matfree import decomp, funm, stochtrace

    def build(
        integrand: Callable[[Budget], Any],
        sampler: Any,
        num: Callable[[Budget], int],
        cost: Callable[[Budget], int],
        loo: bool,
    ) -> Any:
        def prepare(matrix: np.ndarray, budget: Budget) -> Callable[[int], Answer]:
            device_matrix = jnp.asarray(matrix)
            sample = sampler(jnp.zeros(len(matrix)), num=num(budget))
            estimator = stochtrace.estimator_leave_one_out if loo else stochtrace.estimator_monte_carlo
            estimate = jax.jit(estimator(integrand(budget), sample), static_argnums=0)

            def multiply(v: Any) -> Any:
                return device_matrix @ v

            return lambda seed: Answer(float(estimate(multiply, jax.random.PRNGKey(seed))), cost(budget))

        return prepare

    def slq(budget: Budget) -> Any:
        return funm.monte_carlo_funm_sym_logdet(decomp.tridiag_sym(budget.steps))

    def nodes(sampler: Any) -> Any:
        def prepare(matrix: np.ndarray, budget: Budget) -> Callable[[int], Answer]:
            device_matrix = jnp.asarray(matrix)
            sample = sampler(jnp.zeros(len(matrix)), num=budget.probes)
            decompose = decomp.tridiag_sym(budget.steps)
            tridiagonal = jax.jit(jax.vmap(lambda v: decompose(lambda u: device_matrix @ u, v / jnp.linalg.norm(v))[1]))

            def run(seed: int) -> Answer:
                values, vectors = np.linalg.eigh(np.asarray(tridiagonal(sample(jax.random.PRNGKey(seed)))))
                return Answer(
                    (values.ravel(), vectors[:, 0, :].ravel() ** 2 / budget.probes), budget.probes * budget.steps
                )

            return run

        return prepare

    def products(budget: Budget) -> int:
        return budget.products

    def half(budget: Budget) -> int:
        return budget.products // 2

    def probes(budget: Budget) -> int:
        return budget.probes

    hutchinson = build(lambda _: stochtrace.monte_carlo_trace(), stochtrace.sampler_signs, products, products, False)
    xtrace = build(lambda _: stochtrace.leave_one_out_xtrace(), stochtrace.sampler_normal, half, products, True)
    xnys = build(lambda _: stochtrace.leave_one_out_xnystrace(), stochtrace.sampler_normal, products, products, True)
    return [
        Method(library="matfree", name="Hutchinson, signs", quantity="trace", prepare=hutchinson),
        Method(library="matfree", name="XTrace", quantity="trace", prepare=xtrace),
        Method(library="matfree", name="XNysTrace", quantity="trace", prepare=xnys, needs_definite=True),
        *(
            Method(
                library="matfree",
                name=f"SLQ, {name}",
                quantity="log_determinant",
                prepare=build(slq, sampler, probes, lambda budget: budget.probes * budget.steps, False),
            )
            for name, sampler in (("signs", stochtrace.sampler_signs), ("sphere", stochtrace.sampler_sphere))
        ),
        *(
            Method(library="matfree", name=f"Lanczos, {name}", quantity="density", prepare=nodes(sampler))
            for name, sampler in (("signs", stochtrace.sampler_signs), ("sphere", stochtrace.sampler_sphere))
        ),
    ]


def traceax() -> list[Method]:
    """Return the methods of traceax."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp
    import lineax
    from traceax import HutchinsonEstimator, HutchPlusPlusEstimator, XNysTraceEstimator, XTraceEstimator

    def build(estimator: Any, definite: bool) -> Any:
        def prepare(matrix: np.ndarray, budget: Budget) -> Callable[[int], Answer]:
            tags = lineax.positive_semidefinite_tag if definite else lineax.symmetric_tag
            operator = lineax.MatrixLinearOperator(jnp.asarray(matrix), tags)
            estimate = jax.jit(lambda key: estimator.estimate(key, operator, budget.products)[0])
            return lambda seed: Answer(float(estimate(jax.random.PRNGKey(seed))), budget.products)

        return prepare

    return [
        Method(library="traceax", name=name, quantity="trace", prepare=build(estimator, psd), needs_definite=psd)
        for name, estimator, psd in (
            ("Hutchinson", HutchinsonEstimator(), False),
            ("Hutch++", HutchPlusPlusEstimator(), False),
            ("XTrace", XTraceEstimator(), False),
            ("XNysTrace", XNysTraceEstimator(), True),
        )
    ]
