"""What the words in a table of weight matrices mean, for readers who know the models but not the method."""

from typing import Any

__all__ = ["LOOK_MEANINGS", "NO_EXPONENT", "printable", "why_no_exponent"]

#: By what a matrix looks like (:data:`spectra.weights_summary.LOOKS`).
LOOK_MEANINGS = {
    "noise": "cannot be told from random numbers: the singular values are those of independent entries (Marchenko-"
    "Pastur law), as in untrained layers",
    "noise with spikes": "random numbers plus a few directions, whose singular values (the spikes) are larger than "
    "those of random numbers get",
    "power law": "the large singular values fall off like a power; noise and an exponential were tested and excluded",
    "undecided tail": "a power law fits the large singular values, and an exponential about as well: the exponent "
    "describes the tail, and is no evidence of a power law",
    "structure": "independent entries of one variance do not have such singular values, not even the small ones; no "
    "power law was found",
    "heavy-tailed entries": "with the entries in random places about as many singular values stand out as far, or the "
    "small ones differ as much from those of random numbers: large entries make that, not directions",
    "unequal sizes": "rows or columns differ in size, and independent entries in rows and columns of such sizes have "
    "such singular values, a tail included: nothing else is to be seen",
    "orthogonal": "all singular values are equal up to rounding, as some layers begin",
    "low rank": "fewer than 20 singular values, or less than half of them, are not 0 up to rounding, and there is no "
    "bulk: their number is in the column rank",
    "rounding": "no singular value is larger than rounding to the numbers of the two files makes them",
    "unchanged": "the same in both checkpoints",
    "too small": "fewer than 20 singular values, none of them 0: too few to tell spikes from a bulk",
    "unusable": "nothing was computed, for the reason given",
}

#: In place of an exponent: the test that failed, and what follows.
NO_EXPONENT = {
    # Measured: exponents 2 to 8, 100 to 384 values, 40 draws each; 5 of the 6 had 12 to 25 values taken for spikes.
    "as noise": "100 Gaussian matrices of this shape, with as many spikes as this one, were drawn, and have such tails "
    "as well. So the tail is no evidence of a power law, and no exponent is given. It does not exclude one: the "
    "largest values of a power law may pass for spikes (of 720 spectra that were power laws, 6 ended here)",
    "misfit": "samples of the fitted power law lie nearer to their own fits than the tail does to its fit (p-value "
    "below 0.1): the tail is not a power law",
    "exponential": "an exponential fits the same tail better, by more than 1.64 standard errors of the likelihood "
    "ratio",
    "too few": "fewer than 50 eigenvalues that are not 0, and a fit takes 50",
}


def printable(name: str) -> str:
    r"""Return a name on one line, without characters that a terminal obeys.

    Examples
    --------
    >>> printable("a\tb")
    'a?b'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def why_no_exponent(row: dict[str, Any]) -> str:
    """Return the key of :data:`NO_EXPONENT` for a matrix without exponent; empty if none of the tests was made.

    Parameters
    ----------
    row : dict
        Of :func:`spectra.weights_summary.summarize_weights`.

    Examples
    --------
    >>> why_no_exponent({"tail_why": "the tail is that of a Gaussian matrix of the same shape"})
    'as noise'
    """
    why = row["tail_why"]
    if why.startswith("only"):
        return "too few"
    marks = {"p-value": "misfit", "Gaussian": "as noise", "exponential": "exponential"}
    return next((key for mark, key in marks.items() if mark in why), "")
