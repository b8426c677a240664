"""``spectra show`` of a run: what was tried is there, and numbers are readable."""

from probes.cli.show import as_text, summarize
from tests.spectra.recommend.fabricated import fabricated_run

TRIED = ((0.1, 4.0, 0.9), (0.2, 4.0, 0.7), (0.4, 4.0, 0.5), (0.8, 4.0, float("nan")))
FOLLOWED = ((0.4, 4.0, 0.5, 0.43),)


def test_rates_that_were_tried_and_followed_on_are_listed():
    run = fabricated_run(candidates=TRIED, confirmations=FOLLOWED, steps=(0, 10))
    page = as_text(summarize(run))
    assert "diverged" in page
    lines = [line.split()[:3] for line in page.splitlines()]
    for row in (["0.400", "40", "0.500"], ["0.400", "40", "0.430"]):
        assert row in lines


def test_attributes_are_not_printed_to_the_last_bit():
    assert "num_gradients: 57864\n" in as_text(summarize(fabricated_run(num_gradients=57863.99999999999)))
