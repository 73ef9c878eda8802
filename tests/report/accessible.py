"""What axe-core finds in a page that some readers cannot use: https://github.com/dequelabs/axe-core."""

import importlib.util
from pathlib import Path

import pytest

from tests.report.browser import CHROMIUM, opened

_AXE = importlib.util.find_spec("axe_playwright_python")

needs_axe = pytest.mark.skipif(
    CHROMIUM is None or _AXE is None, reason="needs Chromium and: pip install 'geoseg[dev]'"
)

_RUN = """axe.run(document, {resultTypes: ["violations"]}).then(({ violations }) =>
  violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.target.join(" ")}: ${n.failureSummary}`)))"""


def violations(path):
    """Return what is wrong with a page on a desk, light and dark, and on a phone; all of it unfolded."""
    script = (Path(_AXE.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8")
    found = []
    with opened(path) as page:
        page.js(script + ";0")
        page.js("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        for width, dark in ((1280, False), (1280, True), (390, False)):
            page.resize(width, 900, mobile=width < 500)
            page.media(dark=dark)
            found += [f"{width} px, {'dark' if dark else 'light'}: {text}" for text in page.js(_RUN)]
        assert page.complaints == []
    return found
