"""Mean, standard error and quantiles over simulated runs, some of which may have diverged."""

import numpy as np

__all__ = ["MEAN_RESOLVED", "quantiles_of", "statistics_of"]

#: Largest relative change of a mean by leaving out its largest run with which the mean counts as resolved (design
#: choice; 32 runs with a lognormal law of unit width miss it, with half that width they meet it).
MEAN_RESOLVED = 0.1


def statistics_of(values: np.ndarray) -> dict[str, np.ndarray]:
    """Return statistics over the runs, per record.

    Parameters
    ----------
    values : ndarray, shape (runs, records)
        Nonnegative, possibly infinite, not NaN.

    Returns
    -------
    dict of ndarray, shape (records,)
        ``mean``; ``stderr``, the sample standard deviation over the square root of the number of runs, NaN for a single
        run; ``relative_stderr``, their ratio; ``largest_run_share``, the part of the sum that the largest run carries;
        ``mean_resolved``, whether leaving out that run lowers the mean by at most 10 %. With infinite values, mean,
        standard error and their ratio are infinite, the share is 1, and the mean is not resolved.

    Notes
    -----
    Near the critical learning rate most of the mean comes from rare runs. A sample without them underestimates both
    the mean and its standard error, and nothing in the sample can show that; a mean that rests on one run is a sign of
    it. Leaving out the largest of R runs with share s lowers the mean by ``(s R - 1)/(R - 1)`` of itself (derived).

    Examples
    --------
    >>> found = statistics_of(np.array([[1.0, 1.0], [3.0, np.inf]]))
    >>> found["mean"].tolist(), found["stderr"].tolist(), found["largest_run_share"].tolist()
    ([2.0, inf], [1.0, inf], [0.75, 1.0])
    """
    num_runs = len(values)
    largest = np.max(values, axis=0)
    finite = np.isfinite(largest)
    # squares of very large and very small losses neither overflow nor vanish
    scale = np.where(finite & (largest > 0), largest, 1.0)
    scaled = np.where(finite, values, 0.0) / scale
    mean = np.mean(scaled, axis=0)
    spread = np.std(scaled, axis=0, ddof=1) if num_runs > 1 else np.full(len(mean), np.nan)
    stderr = spread / np.sqrt(num_runs)
    relative = np.divide(stderr, mean, out=np.where(np.isnan(stderr), np.nan, 0.0), where=mean > 0)
    share = np.divide(np.max(scaled, axis=0), num_runs * mean, out=np.full(len(mean), 1.0 / num_runs), where=mean > 0)
    effect = (share * num_runs - 1.0) / (num_runs - 1.0) if num_runs > 1 else np.full(len(mean), np.inf)
    return {
        "mean": np.where(finite, mean * scale, np.inf),
        "stderr": np.where(finite, stderr * scale, np.inf),
        "relative_stderr": np.where(finite, relative, np.inf),
        "largest_run_share": np.where(finite, share, 1.0),
        "mean_resolved": finite & (effect <= MEAN_RESOLVED),
    }


def quantiles_of(values: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Return quantiles over the runs, interpolated linearly; beside an infinite run they are infinite, not NaN.

    Parameters
    ----------
    values : ndarray, shape (runs, records)
        Possibly infinite, not NaN.
    quantiles : ndarray, shape (q,)

    Returns
    -------
    ndarray, shape (q, records)

    Examples
    --------
    >>> quantiles_of(np.array([[1.0], [2.0], [np.inf]]), np.array([0.25, 0.5, 0.75])).ravel().tolist()
    [1.5, 2.0, inf]
    """
    ordered = np.sort(values, axis=0)
    # rounding must not move a quantile that falls on a run towards an infinite neighbor
    position = np.round(quantiles * (len(values) - 1), 9)
    below = np.floor(position).astype(np.int64)
    part = (position - below)[:, None]
    low, high = ordered[below], ordered[np.minimum(below + 1, len(values) - 1)]
    with np.errstate(invalid="ignore"):
        return np.where((part == 0.0) | (low == high), low, (1.0 - part) * low + part * high)
