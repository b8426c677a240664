"""Pictures that ``--plot`` asks for."""

import warnings
from pathlib import Path
from typing import Any

from spectra.errors import ArgumentError

__all__ = ["check_picture", "write_picture"]

#: Suffixes of pictures.
PICTURES = (".png", ".svg", ".pdf")


def check_picture(path: Path) -> None:
    """Find out now, and not after a long measurement, whether a picture could be drawn and written to ``path``."""
    from spectra.atomic_write import check_writable
    from spectra.plot import figure

    if path.suffix.lower() not in PICTURES:
        raise ArgumentError(f"--plot takes a file ending in {', '.join(PICTURES)}; got {path.name!r}")
    check_writable(path)
    figure()


def write_picture(figure: Any, path: Path) -> None:
    """Save a figure; an unknown suffix or an unwritable folder is a clear error."""
    from spectra.atomic_write import explained, replacing

    kind = path.suffix.lower()
    if kind not in PICTURES:
        raise ArgumentError(f"--plot takes a file ending in {', '.join(PICTURES)}; got {path.name!r}")
    with explained(path, "written"), replacing(path) as free, warnings.catch_warnings():
        # Names in other scripts are boxes in the picture; a warning for each character helps nobody.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(free, format=kind.removeprefix("."), dpi=150, bbox_inches="tight")
