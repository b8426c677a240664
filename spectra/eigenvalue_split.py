"""The split of a list of eigenvalues: which method, and what its fits say."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np

from spectra.airy_ladder import LEAST_EIGENVALUES, LadderFit, airy_ladder
from spectra.bulk_spectrum import BulkSpectrum
from spectra.bulk_split import BulkSplit
from spectra.eigenvalue_gap import widest_gap
from spectra.frozen import Vector
from spectra.marchenko_pastur_split import MarchenkoPasturFit, marchenko_pastur_fit

__all__ = ["split_eigenvalues"]

#: Misfit in units of the scale beyond which an edge is no square root. Measured: 99 % of bulks of random matrices of
#: order 50 and more lie below 1.35, and all of 20 000 below 1.9.
MISFIT = 2.0
#: A lower edge of a semidefinite matrix within this many scales of 0 is a hard one (measured: Wishart matrices with
#: aspect ratios from 0.9 to 1).
HARD = 3.0
#: Standard error of an edge, over its distance from the median of the spectrum, above which it tells little. A design
#: choice: exponential decay lies above. So do 3 to 13 % of random matrices of order 50 and up to 2 % of order 100.
VAGUE = 0.2
#: Where a quarter of the window or more are outliers, of which the last has a p-value above this, outliers run into the
#: bulk (measured: 1e-3 to 5e-3 for power laws; spikes with a gap below them have far less).
NO_GAP_SHARE, NO_GAP = 0.25, 1e-4
#: Where a spectrum has no gap, the number of outliers follows the window: with half and one and a half times as many
#: eigenvalues it changes by more than 3 and a quarter. Measured: in none of 480 draws with 1 to 60 spikes that stand
#: apart, 6 of 60 with ten spikes from 1.6 to 3, and in 240 of 260 draws of order 200 and more whose population decays
#: like a power.
UNSTEADY, UNSTEADY_SHARE = 3, 0.25
#: Eigenvalues with which white noise can be told from other bulks (design choice: the limit of the distance is 0.26).
LEAST_WHITE = 10


def split_eigenvalues(
    spectrum: BulkSpectrum, method: Literal["auto", "edge", "marchenko_pastur"], level: float, window: dict[str, Any]
) -> BulkSplit:
    """Return the split by the method, or the one that fits."""
    n = len(spectrum.values)
    enough = n >= max(LEAST_EIGENVALUES, 2 * (window["num_points"] or 0))
    white = None
    if spectrum.shape is not None and method != "edge" and n > 1:
        p, samples = spectrum.shape
        # Fewer than min(p, n) eigenvalues that are not 0 are not those of noise; that must show.
        padded = np.append(spectrum.values, np.zeros(max(min(p, samples) - n, 0)))
        white = marchenko_pastur_fit(padded, num_variables=p, num_samples=samples, level=0.5 + 0.5 * level)
    if not enough and white is None:
        return _too_few(spectrum, level)
    below, is_hard = _lower_edge(spectrum, 0.5 + 0.5 * level, window) if enough else (None, False)
    if white is not None and (method == "marchenko_pastur" or not enough or _is_white(white)):
        return _white_split(spectrum, white, below, is_hard=is_hard, level=level)
    assert below is not None
    above = airy_ladder(spectrum.values, level=level if is_hard else 0.5 + 0.5 * level, **window)
    below_count = 0 if is_hard else below.num_outliers
    has_bulk = above.num_outliers + below_count < n
    remarks = _gap_remarks(spectrum.values[above.num_outliers : n - below_count])
    if white is not None:
        remarks += (
            f"the bulk is not that of white noise, by {white.distance:.2g} in the distribution function, under which "
            f"there would be {white.num_outliers} outliers above it",
        )
    return _edge_split(spectrum, above, below if has_bulk else None, is_hard=is_hard, level=level, remarks=remarks)


def _lower_edge(spectrum: BulkSpectrum, level: float, window: dict[str, Any]) -> tuple[LadderFit, bool]:
    """Return the lower edge, as an upper one of the negative spectrum, and whether it is a hard one at 0.

    Near 0 the density bends within the window. Logarithms straighten it, as for the smallest eigenvalue in Ma (2012).
    """
    values = spectrum.values
    plain = airy_ladder(-values[::-1], level=level, **window)
    if not spectrum.is_semidefinite:
        return plain, False
    if -plain.edge < HARD * max(plain.scale, plain.stderr):
        return plain, True
    unit = float(np.median(values))
    fit = airy_ladder(-np.log(values[::-1] / unit), level=level, **window)
    low = unit * float(np.exp(-fit.edge))
    threshold = -unit * float(np.exp(-fit.threshold))
    return replace(fit, edge=-low, scale=low * fit.scale, stderr=low * fit.stderr, threshold=threshold), False


def _gap_remarks(bulk: Vector) -> tuple[str, ...]:
    """Return what is to be said of a gap inside the bulk."""
    gap = widest_gap(bulk)
    if gap is None:
        return ()
    return (
        f"between {gap.low:.4g} and {gap.high:.4g} there are no eigenvalues, {gap.num_above} of the bulk lie above: it "
        "has more than one part, and its edges are those of the outermost",
    )


def _is_white(fit: MarchenkoPasturFit) -> bool:
    return fit.is_settled and fit.distance <= fit.distance_limit


def _sides(
    spectrum: BulkSpectrum, above: int, p_above: Vector, below: LadderFit | None, *, low: float, is_hard: bool
) -> dict[str, Any]:
    """Return the outliers of both sides, and what is known of the lower edge, `low` or, without one, NaN."""
    values, sought = spectrum.values, below is not None and not is_hard
    # What a law says is in its bulk is no outlier below, so that outliers of both sides are disjoint.
    low_threshold = min(-below.threshold, low) if below is not None and sought else np.nan
    count = min(below.num_outliers, int(np.sum(values < low_threshold))) if below is not None and sought else 0
    lower = values[len(values) - count :]
    return {
        "low": 0.0 if is_hard else low,
        "outlier": np.concatenate([values[:above], lower]),
        "side": np.concatenate([np.ones(above), -np.ones(count)]),
        "residual": np.zeros(above + count),
        "p_value": np.concatenate([p_above, below.p_values[:count][::-1] if below is not None and sought else []]),
        "low_kind": "hard" if is_hard else "soft" if below is not None else "unknown",
        "low_scale": below.scale if below is not None and sought else np.nan,
        "low_threshold": low_threshold,
        "num_eigenvalues": len(values) + spectrum.num_zeros,
        "num_zeros": spectrum.num_zeros,
    }


def _edge_split(
    spectrum: BulkSpectrum,
    above: LadderFit,
    below: LadderFit | None,
    *,
    is_hard: bool,
    level: float,
    remarks: tuple[str, ...],
) -> BulkSplit:
    """Return the law-free split; without a fit below, no eigenvalue was left between the two edges."""
    fits = {"upper": above} if is_hard or below is None else {"upper": above, "lower": below}
    median = float(np.median(spectrum.values))
    doubts: list[str] = []
    if below is None:
        doubts.append(
            "no eigenvalue is left between the edges: of two groups each is outside the other (a smaller max_outliers "
            "leaves both in the bulk)"
        )
    decays: list[str] = []
    for name, fit in fits.items():
        if not fit.is_resolved:
            doubts.append(f"eigenvalues at the {name} edge coincide up to rounding, so that it has no scale")
        elif fit.misfit > MISFIT:
            doubts.append(f"the {name} edge is no square root: the misfit {fit.misfit:.2g} exceeds {MISFIT:g}")
        if fit.is_resolved and fit.stderr > VAGUE * abs(fit.edge - (median if name == "upper" else -median)):
            decays.append(
                f"the {name} edge is known to {fit.stderr:.2g} only, as of small matrices or spectra that decay at once"
            )
        if fit.num_outliers >= NO_GAP_SHARE * fit.num_points and fit.p_values[-1] > NO_GAP:
            decays.append(f"{fit.num_outliers} outliers run into the {name} edge without a gap, as in a slow decay")
        elif fit.most_outliers - fit.least_outliers > max(UNSTEADY, UNSTEADY_SHARE * fit.num_outliers):
            decays.append(
                f"between {fit.least_outliers} and {fit.most_outliers} eigenvalues are outside the {name} edge, by how "
                "many it is fitted to: there is no gap, as in a slow decay"
            )
        if fit.num_outliers == fit.max_outliers:
            decays.append(
                f"all {fit.max_outliers} eigenvalues that may be outliers at the {name} edge are: a part of the bulk "
                "of its own, a slow decay, or more outliers (raise max_outliers)"
            )
    return BulkSplit(
        method="edge",
        high=above.edge,
        low_stderr=np.nan if is_hard or below is None else below.stderr,
        high_stderr=above.stderr,
        scale=above.scale,
        threshold=above.threshold,
        misfit=max(fit.misfit for fit in fits.values()),
        misfit_limit=MISFIT,
        is_decay=bool(decays),
        level=level,
        is_trustworthy=not doubts + decays,
        why="; ".join(doubts + decays) or "the edges follow square roots",
        remarks=remarks,
        **_sides(
            spectrum,
            above.num_outliers,
            above.p_values,
            below,
            low=np.nan if below is None else -below.edge,
            is_hard=is_hard,
        ),
    )


def _white_split(
    spectrum: BulkSpectrum, fit: MarchenkoPasturFit, below: LadderFit | None, *, is_hard: bool, level: float
) -> BulkSplit:
    """Return the split of white noise."""
    doubts = [] if fit.is_settled else ["the number of outliers does not settle"]
    if len(spectrum.values) < LEAST_WHITE:
        doubts.append(f"{len(spectrum.values)} eigenvalues that are not 0 are too few to see whether the bulk is white")
    if fit.distance > fit.distance_limit:
        doubts.append(
            f"the bulk is not white: its distribution function is off by {fit.distance:.2g}, more than "
            f"{fit.distance_limit:.2g}; method 'edge' assumes no law"
        )
    return BulkSplit(
        method="marchenko_pastur",
        high=fit.high,
        low_stderr=np.nan if is_hard else fit.low * fit.variance_stderr / fit.variance,
        high_stderr=fit.high * fit.variance_stderr / fit.variance,
        scale=fit.scale,
        threshold=fit.threshold,
        variance=fit.variance,
        misfit=fit.distance,
        misfit_limit=fit.distance_limit,
        level=level,
        is_trustworthy=not doubts,
        why="; ".join(doubts) or "the bulk follows the law of white noise",
        **_sides(spectrum, fit.num_outliers, fit.p_values, below, low=fit.low, is_hard=is_hard),
    )


def _too_few(spectrum: BulkSpectrum, level: float) -> BulkSplit:
    """Return a split that says nothing."""
    values = spectrum.values if len(spectrum.values) else np.zeros(1)
    return BulkSplit(
        method="edge",
        low=np.nan,
        high=np.nan,
        low_stderr=np.nan,
        high_stderr=np.nan,
        low_kind="unknown",
        threshold=np.nan,
        outlier=np.empty(0),
        side=np.empty(0),
        residual=np.empty(0),
        p_value=np.empty(0),
        misfit=np.nan,
        misfit_limit=MISFIT,
        num_eigenvalues=len(spectrum.values) + spectrum.num_zeros,
        num_zeros=spectrum.num_zeros,
        level=level,
        is_trustworthy=False,
        why=(
            f"too few eigenvalues are not 0 to tell an edge: {len(spectrum.values)}, from {values[-1]:.3g} to "
            f"{values[0]:.3g}; {LEAST_EIGENVALUES} are required, and twice num_points"
        ),
    )
