r"""Phases of power-law random features: which powers of time and size the loss of SGD follows, and the best size.

In the model of :mod:`spectra.dynamics.power_law`, with v a fixed multiple of d, one sample per step (or a fixed number)
and the learning rate :math:`\gamma` a fixed share of the critical one, the loss after k steps is, up to constants, a
sum of powers of :math:`T = \gamma k` and d, as long as T is large and below :math:`d^{2\alpha}`:

===========  ==========================================  ==============================================================
target       :math:`T^{-(2\alpha+2\beta-1)/2\alpha}`     Parts of the target that have not been learned yet.
distortion   :math:`d^{-1} T^{-1+1/2\alpha}`             The learned parts as far as they have leaked into slow modes,
                                                         because features are random. If 2α > 1 and 2β > 1.
noise        :math:`\gamma\,T^{-2+1/2\alpha}`            What the gradient noise of the beginning has left.
                                                         If 4α > 1 and the loss is summable over time, 2β > 1.
floor        :math:`d^{-2\alpha-\min(0, 2\beta-1)}`      What d features cannot express.
===========  ==========================================  ==============================================================

The critical learning rate tends to a constant for 2α > 1, where the trace of the covariance does, and falls like
:math:`d^{2\alpha-1}` for 2α < 1. A term belongs to a phase if it is the largest somewhere:

=====  ====================================  ===============================================
Ia     2α > 1 > 2β                           target, floor
Ib     2α < 1, 2β < 1                        target, floor
Ic     4α < 1 < 2β                           target, floor
II     2α > 1, 1/2 < β < α                   target, distortion, floor
III    2α > 1, β > α                         noise, distortion, floor
IVa    1 - 1/√2 < α < 1/2 < β                target, noise, floor
IVb    1/4 < α < 1 - 1/√2, β > 1/2           target, noise, floor
=====  ====================================  ===============================================

With a budget of :math:`f = k d` the best size is where the largest of these powers is smallest.

Sources: Paquette, Paquette, Xiao and Pennington (2024), arXiv 2405.15074, for the phases, their names and exponents,
recalled rather than read again; each term is derived here from integrals of powers, and every exponent is compared with
computed curves in ``tests/claims/test_power_law_phases.py``.
"""

from dataclasses import dataclass
from itertools import combinations

from spectra.dynamics.power_law import as_decay
from spectra.errors import ArgumentError

__all__ = ["PowerLawPhase", "PowerLawTerm", "power_law_phase"]

#: Where the noise term at a fixed budget changes from growing with the size to falling: a root of 2 a^2 - 4 a + 1.
TURN = 1 - 0.5**0.5
#: Distance from a boundary that counts as on it: rounding of an exponent that was computed.
ON_BOUNDARY = 1e-12


@dataclass(frozen=True, kw_only=True)
class PowerLawTerm:
    r"""A part of the loss, proportional to :math:`T^{-\text{time}} d^{-\text{size}}` with :math:`T = \gamma k`.

    Attributes
    ----------
    name : {"target", "distortion", "noise", "floor"}
        See :mod:`spectra.dynamics.power_law_phases`.
    time, size : float
        Exponents, positive where the term falls.

    Notes
    -----
    Source: see the module.

    Examples
    --------
    >>> power_law_phase(1.0, 0.25).terms[0]
    PowerLawTerm(name='target', time=0.75, size=0.0)
    """

    name: str
    time: float
    size: float


@dataclass(frozen=True, kw_only=True)
class PowerLawPhase:
    r"""Exponents of the loss of SGD on power-law random features.

    Attributes
    ----------
    name : str
        Ia, Ib, Ic, II, III, IVa or IVb.
    data_decay, target_decay : float
        :math:`\alpha` and :math:`\beta`.
    learning_rate_exponent : float
        g, if the critical learning rate falls like :math:`d^{-g}`.
    terms : tuple of PowerLawTerm
        In the order in which they are the largest as T grows.
    balance : tuple of str
        The two terms that are equal at the best size.
    parameter_exponent, loss_exponent : float
        The best size grows like :math:`f^{\text{parameter_exponent}}` with the budget f, the steps times d, and its
        loss falls like :math:`f^{-\text{loss_exponent}}`.

    Notes
    -----
    Source: see the module.

    Examples
    --------
    >>> power_law_phase(1.0, 0.25).balance
    ('target', 'floor')
    """

    name: str
    data_decay: float
    target_decay: float
    learning_rate_exponent: float
    terms: tuple[PowerLawTerm, ...]
    balance: tuple[str, str]
    parameter_exponent: float
    loss_exponent: float


def power_law_phase(data_decay: float, target_decay: float) -> PowerLawPhase:
    r"""Return the phase of power-law random features, with its exponents in time, size and budget.

    Parameters
    ----------
    data_decay, target_decay : float
        :math:`\alpha` and :math:`\beta` of :func:`spectra.dynamics.power_law_features`, with
        :math:`\alpha + \beta > 1/2`, so that the loss at the start does not grow with v.

    Returns
    -------
    PowerLawPhase

    Raises
    ------
    ArgumentError
        If a decay is not positive, their sum is not above 1/2, or they lie on a boundary between phases, where powers
        come with logarithms or the best size is not unique.
    NonFiniteError
        If a decay is not finite.

    Notes
    -----
    Exponents are those of large sizes. In phase IVb, and near any boundary, terms differ by small powers of d, and the
    loss exponent at a billion parameters can still be 10 % off; :func:`spectra.dynamics.power_law_equivalent` computes
    the curve at any size.

    O(1) operations.

    Source: Paquette, Paquette, Xiao and Pennington (2024), arXiv 2405.15074, for the phases; derived here.

    Examples
    --------
    >>> phase = power_law_phase(1.0, 0.25)
    >>> phase.name, [term.name for term in phase.terms], phase.terms[0].time
    ('Ia', ['target', 'floor'], 0.75)
    >>> round(phase.parameter_exponent, 12), round(phase.loss_exponent, 12)
    (0.333333333333, 0.5)
    """
    alpha, beta = as_decay(data_decay, name="data_decay"), as_decay(target_decay, name="target_decay")
    if alpha == 0 or beta == 0:
        raise ArgumentError(f"both decays must be positive for powers of the size; got {alpha} and {beta}")
    if alpha + beta <= 0.5:
        raise ArgumentError(
            "data_decay + target_decay must be above 1/2: below, the loss at the start grows with the ambient "
            f"dimension and its decay is no power; got {alpha} + {beta}"
        )
    name = _phase_name(alpha, beta)
    falls = max(0.0, 1 - 2 * alpha)
    half = 1 / (2 * alpha)
    every = {
        "target": PowerLawTerm(name="target", time=1 + (2 * beta - 1) * half, size=0.0),
        "distortion": PowerLawTerm(name="distortion", time=1 - half, size=1.0),
        "noise": PowerLawTerm(name="noise", time=2 - half, size=falls),
        "floor": PowerLawTerm(name="floor", time=0.0, size=2 * alpha + min(0.0, 2 * beta - 1)),
    }
    members = {
        "II": ("target", "distortion", "floor"),
        "III": ("noise", "distortion", "floor"),
        "IVa": ("target", "noise", "floor"),
        "IVb": ("target", "noise", "floor"),
    }
    terms = tuple(every[member] for member in members.get(name, ("target", "floor")))
    balance, share, loss = _best_size(terms, falls)
    return PowerLawPhase(
        name=name,
        data_decay=alpha,
        target_decay=beta,
        learning_rate_exponent=falls,
        terms=terms,
        balance=balance,
        parameter_exponent=share,
        loss_exponent=loss,
    )


def _phase_name(alpha: float, beta: float) -> str:
    lines = {"data_decay = 1/2": alpha - 0.5, "target_decay = 1/2": beta - 0.5}
    if alpha > 0.5 and beta > 0.5:
        lines["data_decay = target_decay"] = alpha - beta
    elif beta > 0.5:
        lines |= {"data_decay = 1/4": alpha - 0.25, "data_decay = 1 - 1/sqrt(2)": alpha - TURN}
    for line, distance in lines.items():
        if abs(distance) <= ON_BOUNDARY:
            raise ArgumentError(f"{line} is a boundary between phases; take a value on one side of it")
    if beta < 0.5:
        return "Ia" if alpha > 0.5 else "Ib"
    if alpha > 0.5:
        return "II" if beta < alpha else "III"
    if alpha < 0.25:
        return "Ic"
    return "IVa" if alpha > TURN else "IVb"


def _best_size(terms: tuple[PowerLawTerm, ...], falls: float) -> tuple[tuple[str, str], float, float]:
    r"""Return the terms that meet, and the exponents of size and loss, at the best size for a budget.

    With :math:`d = f^x` the time is :math:`T = f^{1 - (1 + g) x}`, and the logarithm of each term over that of f is
    linear in x: the smallest of the largest lies where two of them cross.
    """

    def height(term: PowerLawTerm, x: float) -> float:
        return -term.time * (1 - (1 + falls) * x) - term.size * x

    found = []
    for one, two in combinations(terms, 2):
        slope = (1 + falls) * (one.time - two.time) - (one.size - two.size)
        x = (one.time - two.time) / slope
        found.append((max(height(term, x) for term in terms), x, (one.name, two.name)))
    loss, share, names = min(found)
    return names, share, -loss
