"""The HTML page: well-formed, self-contained, and safe whatever a run says of itself."""

from html.parser import HTMLParser

import pytest

from spectra.recommend import advise
from spectra.report import render
from tests.spectra.recommend.fabricated import fabricated_run

VOID = {"meta", "br", "img", "link", "hr", "input"}
EVIL = "<script>alert(1)</script>&\"'`|*"


class Reader(HTMLParser):
    """Collects elements and text, and fails where tags do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def page_of(*, picture: bool = True, **changes: object) -> str:
    run = fabricated_run(candidates=((0.1, 4.0, 0.9), (0.4, 4.0, 0.5), (0.8, 4.0, 0.4)), steps=(0, 10), **changes)
    advice = advise(run)
    if not picture:
        return render(advice, format="html")
    pytest.importorskip("matplotlib")
    from spectra.advice_plot import advice_svg

    return render(advice, format="html", picture=advice_svg(advice, run))


def test_it_parses_and_refers_to_nothing_outside():
    page = page_of()
    reader = Reader(page)
    tags = [tag for tag, _ in reader.elements]
    assert "svg" in tags
    assert not {"script", "link", "img", "iframe", "object"} & set(tags)
    for _, attributes in reader.elements:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("href", "xlink:href", "src"):
                assert value is not None
                assert value.startswith("#")
    for outside in ("http:", "https:", "@import", "//www"):
        assert outside not in page
    assert page.count("url(") == page.count("url(#")


def test_what_a_run_says_is_escaped():
    page = page_of(task=EVIL, notes=EVIL, remarks=EVIL)
    reader = Reader(page)
    assert "script" not in [tag for tag, _ in reader.elements]
    assert any(EVIL in text for text in reader.text)


def test_the_page_needs_no_picture():
    assert "<svg" not in page_of(picture=False)


def test_the_same_advice_gives_the_same_page():
    assert page_of() == page_of()


def test_markdown_escapes_markup_and_fences_code():
    run = fabricated_run(task="a`b<c>|d", notes="see <b>this</b>")
    page = render(advise(run), format="markdown", picture="recommendation.png")
    assert "<b>" not in page
    assert "](recommendation.png)" in page
    assert page.count("```python") == 3
