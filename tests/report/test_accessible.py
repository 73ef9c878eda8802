"""Pages that everybody can use; those of the sample scene and of objects are looked at beside their runs."""

from geoseg.report.training_page import write_training_page
from tests.report.accessible import needs_axe, violations
from tests.report.test_training_page import record

pytestmark = needs_axe


def test_the_page_of_a_map_has_no_barrier(finished):
    assert violations(finished / "report.html") == []


def test_the_page_of_a_training_has_no_barrier(tmp_path):
    write_training_page(tmp_path / "training.html", record())
    assert violations(tmp_path / "training.html") == []


def test_a_barrier_is_found(tmp_path):
    (tmp_path / "page.html").write_text(
        "<!doctype html><html lang=en><title>Grey</title><main><h1>Map</h1>"
        "<p style='color:#bbb;background:#fff'>pale<p><img src=data:,></main></html>"
    )
    found = violations(tmp_path / "page.html")
    assert {text.split(": ")[1] for text in found} == {"color-contrast", "image-alt"}
