import base64
import io
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from geoseg.core.errors import OutputError
from geoseg.core.legend import IGNORE, Legend, LegendClass
from geoseg.report.charts import Series, line_chart, sparkline
from geoseg.report.html import fact, grouped, read_template, short
from geoseg.report.pictures import composition, disagreement, paint, panels
from geoseg.report.training_page import (
    ChipPicture,
    Curve,
    TrainingPage,
    best_epoch,
    training_page,
    write_training_page,
)
from geoseg.report.training_parts import (
    MatrixCell,
    calibration_error,
    confusion_table,
    found_chart,
    headline_scores,
)
from tests.report.parsing import Page

NAN = math.nan
TITLES = ('Grass & "herbs"', "<b>Wald</b>", "Forêt d'été", "水体")
COLORS = ("#b8d66b", "#1b7837", "#f2cf63", "#2b7bba")
LEGEND = Legend(
    tuple(LegendClass(10 + i, f"c{i}", t, c) for i, (t, c) in enumerate(zip(TITLES, COLORS, strict=True)))
)
CONFUSION = np.array([[900, 50, 50, 0], [25, 75, 0, 0], [0, 0, 0, 0], [1, 0, 1, 1_234_565]], np.int64)


def curve(name, values, part="val"):
    return Curve(name, tuple(float(i + 1) for i in range(len(values))), tuple(values), part)


def chip(title="chip <1> & co", seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 4, (12, 16)).astype(np.uint8)
    label[0] = IGNORE
    prediction = np.where(label == 1, 2, np.where(label == IGNORE, 0, label)).astype(np.uint8)
    return ChipPicture(title, rng.integers(0, 255, (12, 16, 3)).astype(np.uint8), label, prediction, 0.7531)


def record(**changes):
    base = TrainingPage(
        title="Land & <sea>",
        subtitle="a sub-title",
        legend=LEGEND,
        curves=(
            curve("loss", (1.5, 0.9, 0.7), "train"),
            curve("loss", (1.6, NAN, 0.8)),
            curve("miou", (0.3, 0.5, 0.4)),
            curve("lr", (1e-3, 5e-4, 1e-5), "train"),
            curve("iou/c0", (0.2, 0.4, 0.6)),
        ),
        confusion=CONFUSION,
        measured_on="validation chips",
        scores={
            "miou": 0.61749,
            "overall_accuracy": np.float32(0.98765),
            "brier": 0.2718,
            "frequency_weighted_iou": 0.4321,
            "odd": {"deep": [1, 2]},
            "classes": {
                "c0": {"iou": 0.8765, "f1": 0.9342, "precision": 0.9719, "recall": 0.9},
                "c1": {"iou": 0.5, "f1": 0.6667, "precision": 0.6, "recall": 0.75, "support": 4321},
                "c2": {"iou": None, "f1": NAN},
            },
        },
        reliability=((0.55, 0.45, 100), (0.95, 0.85, 300), (NAN, NAN, 0)),
        reliability_scaled=((0.5, 0.5, 100), (0.9, 0.9, 300)),
        best=(chip(),),
        worst=(chip("worst 'one'", 1),),
        facts={"seed": 7, "model": {"encoder": {"name": "a&b", "frozen": False}, "rate": 3e-4, "none": None}},
        warnings=("only 3 <chips> & more",),
    )
    return replace(base, **changes)


@pytest.fixture(scope="module")
def page():
    return Page(training_page(record()))


def test_every_class_name_survives_escaped(page):
    source = training_page(record())
    assert "<b>Wald" not in source
    for title in TITLES:
        # Once at each end of the confusion matrix, among the classes and in the legend.
        assert page.text.count(title) >= 4


def test_the_page_is_whole_and_loads_nothing(page):
    loaded = [v for _, k, v in page.attributes if k in {"src", "href", "srcset", "data", "xlink:href"}]
    assert loaded
    assert all(v.startswith("data:") for v in loaded)
    source = training_page(record())
    assert not re.search(r"https?:|url\(|@import|<script", source)
    assert "default-src 'none'" in source


def test_figures_are_those_of_the_record(page):
    for figure in ("0.617", "0.988", "0.272", "0.432", "0.876", "0.972", "4\u202f321", "1\u202f234\u202f567"):
        assert figure in page.text
    assert f"{int(CONFUSION.sum()):,}".replace(",", "\u202f") + " labelled pixels" in page.text
    assert "75.3 % agree" in page.text
    assert "Weights of epoch 2." in page.text
    assert "only 3 <chips> & more" in page.text
    assert "90.0 900 5.0 50 5.0 50" in page.text
    assert "25.0 25 75.0 75" in page.text
    assert "error 0.100" in page.text
    assert "error 0.000" in page.text
    for words in ("a&b", "no", "0.0003", "deep", "1, 2"):
        assert words in page.text


def test_classes_without_scores_show_a_dash_and_no_bar(page):
    assert len([a for a in page.all("b") if "width" in (a.get("style") or "")]) == 2
    assert page.text.count("–") >= 8


def test_pictures_have_words_and_tables_have_headings(page):
    images = page.all("img")
    assert len(images) == 8
    assert all(a["alt"] for a in images)
    assert any(t in images[1]["alt"] for t in TITLES)
    headings = page.all("th")
    assert headings
    assert all(a["scope"] in {"row", "col"} for a in headings)
    named = {a["id"] for _, a in page.tags if "id" in a}
    drawings = [a for a in page.all("svg") if a.get("role") == "img"]
    assert len(drawings) == 4
    assert {a["aria-labelledby"] for a in drawings} <= named
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))


def test_the_confusion_matrix_counts_and_shares():
    rows = confusion_table(CONFUSION, LEGEND)
    assert [r.total for r in rows] == [1000, 100, 0, 1_234_567]
    assert [c.share for c in rows[1].cells] == [0.25, 0.75, 0, 0]
    assert rows[1].cells[0].depth == 0.5
    assert all(math.isnan(c.share) and c.depth == 0 for c in rows[2].cells)
    assert [[c.right for c in r.cells] for r in rows] == np.eye(4, dtype=bool).tolist()


@pytest.mark.parametrize(
    "changes",
    [
        {"curves": ()},
        {"curves": (Curve("loss", (), (), "val"),)},
        {"curves": (curve("loss", (NAN, NAN)), curve("miou", (NAN, NAN)))},
        {"curves": (curve("loss", (0.5,)), curve("lr", (0.0,), "train"), curve("iou/c0", (0.5,)))},
        {"curves": (curve("loss", (math.inf, -1.0, -1.0)),)},
        {"confusion": np.zeros((4, 4), np.int64)},
        {"scores": {}},
        {"scores": {"miou": None, "kappa": NAN, "classes": {}}},
        {"reliability": (), "reliability_scaled": ()},
        {"reliability": ((NAN, NAN, 0),), "reliability_scaled": ()},
        {"best": (), "worst": ()},
        {"best": (replace(chip(), label=np.full((12, 16), IGNORE, np.uint8), score=NAN),)},
        {"facts": {}, "warnings": ()},
        {"facts": {"list": [], "long": list(range(99)), "deep": {"er": {"still": [{"a": 1}]}}}},
    ],
)
def test_what_is_missing_does_not_break_the_page(changes):
    page = Page(training_page(record(**changes)))
    assert "Land & <sea>" in page.text
    drawn = " ".join(v for _, k, v in page.attributes if k in {"d", "x", "y", "cx", "cy", "style", "height"})
    assert not re.search(r"nan|inf|none", drawn, re.IGNORECASE)


def test_a_record_without_curves_is_the_page_of_an_evaluation():
    page = Page(training_page(record(curves=(), best=(), worst=(), facts={}, scores={"miou": 0.5})))
    assert "Training" not in page.text
    assert "epoch" not in page.text
    assert "Chips" not in page.text


def test_many_classes_and_epochs_stay_small():
    legend = Legend(tuple(LegendClass(i, f"c{i}", f"Class {i}", "#123456") for i in range(40)))
    rng = np.random.default_rng(0)
    curves = tuple(
        curve(n, tuple(rng.random(500))) for n in ("loss", "miou", *(f"iou/c{i}" for i in range(40)))
    )
    text = training_page(
        record(legend=legend, curves=curves, confusion=rng.integers(0, 999, (40, 40)), best=(), worst=())
    )
    page = Page(text)
    assert len(text) < 2_000_000
    assert not page.all("circle", "val")
    assert len(page.all("td", "right")) == 40
    assert len(page.all("td", "wrong")) == 40 * 39
    assert len(page.all("svg", "spark")) == 40


def test_a_missing_value_leaves_a_gap_and_a_lone_one_a_dot():
    points = ((1.0, 0.2), (2.0, NAN), (3.0, 0.4), (4.0, 0.6), (5.0, math.inf), (6.0, 0.1))
    chart = line_chart([Series("s", "val", points)], x_label="epoch", y_label="", size=(400, 200), share=True)
    assert re.sub(r"[\d. ]+", "", chart.lines[0].path.replace("h0", "h")) == "MhMhLMh"
    assert len(chart.lines[0].dots) == 4
    assert sparkline(points).count("M") == 3
    one = line_chart([Series("s", "val", ((1.0, 0.5),))], x_label="", y_label="", size=(400, 200))
    assert len(one.lines[0].dots) == 1
    assert one.lines[0].path.startswith("M")
    assert line_chart([Series("s", "val", ((1.0, NAN),))], x_label="", y_label="", size=(400, 200)) is None


@pytest.mark.parametrize("values", [(1.5, 0.7, 0.2), (0.0, 3e-4), (900.0, 1.0, 0.02), (-4.0, 2.0), (0.0,)])
def test_values_lie_where_the_ticks_say(values):
    points = tuple((float(i), v) for i, v in enumerate(values))
    chart = line_chart([Series("s", "val", points)], x_label="epoch", y_label="y", size=(400, 200))
    left, top, right, bottom = chart.frame
    ticks = [(t.at, float(t.label)) for t in chart.y_ticks]
    logarithmic = "logarithmic" in chart.y_label
    assert logarithmic == (min(values) > 0 and max(values) / min(values) >= 30)
    scale = np.log10 if logarithmic else np.asarray
    at, number = np.array([t[0] for t in ticks]), scale([t[1] for t in ticks])
    slope, offset = np.polyfit(number, at, 1)
    np.testing.assert_allclose([d[1] for d in chart.lines[0].dots], slope * scale(values) + offset, atol=0.1)
    assert slope < 0
    assert all(left <= d[0] <= right and top <= d[1] <= bottom for d in chart.lines[0].dots)


def test_the_best_epoch_is_marked():
    assert best_epoch(record()) == 2
    assert best_epoch(record(best_epoch=3)) == 3
    assert best_epoch(record(curves=(curve("loss", (3.0, 1.0, NAN)),))) == 2
    assert best_epoch(record(curves=())) is None
    text = training_page(record())
    assert "epoch 2: 0.500" in text
    # Validation loss is missing at epoch 2: nothing to mark there.
    assert len(Page(text).all("circle", "ring")) == 1


def test_precision_over_recall_is_marked_at_the_score_of_the_card():
    points = ((0.9, 0.2, 1.0), (0.6, 0.5, 0.8), (0.3, 0.6, 0.4))
    chart = found_chart(points, 0.55)
    assert chart.mark == (*chart.lines[0].dots[1][:2], "score 0.55")
    assert found_chart(points, 0.95).mark is None
    assert found_chart((), 0.5) is None
    page = Page(training_page(record(objects=True, precision_recall=points, score_threshold=0.55)))
    assert "Precision over recall; at score 0.55" in page.text
    assert "Precision and recall" not in training_page(record())


def test_pictures_show_the_legend_and_what_is_wrong():
    label = np.array([[0, 1, IGNORE], [3, 2, 2]], np.uint8)
    prediction = np.array([[0, 3, 1], [3, 2, 1]], np.uint8)
    assert disagreement(label, prediction).tolist() == [[False, True, False], [False, False, True]]
    painted = paint(label, LEGEND)
    assert painted[0, 1].tolist() == [*LEGEND.classes[1].rgb, 255]
    assert painted[0, 2, 3] == 0
    assert composition(label, LEGEND, most=2) == "Forêt d'été 40 %, " + TITLES[0] + " 20 %"
    rgb = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    pictures = panels(rgb, label, prediction, LEGEND)
    assert "40.0 % of the labelled pixels" in pictures[3].alt
    np.testing.assert_array_equal(decoded(pictures[0].uri)[..., :3], rgb)
    difference = decoded(pictures[3].uri)
    assert difference[0, 1, :3].tolist() == list(LEGEND.classes[1].rgb)
    assert difference[1, 2, :3].tolist() == list(LEGEND.classes[2].rgb)
    assert difference[0, 2, 3] == 0
    assert difference[0, 0].tolist() == difference[1, 0].tolist()


def decoded(uri):
    import matplotlib.image

    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    return np.rint(matplotlib.image.imread(io.BytesIO(data), format="png") * 255).astype(int)


def test_each_predicted_class_has_a_small_diagram_with_its_error():
    bins = {"c1": ((0.9, 0.8, 30), (0.5, 0.7, 10)), "c3": ((0.55, 0.45, 100), (NAN, NAN, 0)), "c0": ()}
    text = training_page(record(reliability_of_classes=bins))
    shown = Page(text)
    assert "error 0.125, 40 px" in shown.text
    assert "error 0.100, 100 px" in shown.text
    assert text.count('id="reliability-') == 2
    assert 'id="reliability-' not in training_page(record())


def test_calibration_error_is_weighted_by_pixels():
    assert calibration_error([(0.9, 0.8, 30), (0.5, 0.7, 10), (NAN, NAN, 0)]) == pytest.approx(0.125)


def test_the_five_most_telling_scores_lead():
    names = ("brier", "expected_calibration_error", "kappa", "macro_f1", "overall_accuracy", "miou", "mine")
    figures, further = headline_scores({name: i / 10 for i, name in enumerate(names)})
    assert [f.value for f in figures] == [0.5, 0.4, 0.3, 0.2, 0.1]
    assert further == {"Brier score": 0.0, "mine": 0.6}


def test_numbers_are_written_for_people():
    assert [short(n) for n in (0, 812, 999.6, 4100, 23_400_000, 999_960, NAN)] == [
        "0", "812", "1.0k", "4.1k", "23M", "1.0M", "–",
    ]  # fmt: skip
    assert grouped(1234567) == "1\u202f234\u202f567"
    assert [fact(v) for v in (None, True, 3, 0.1 + 0.2, NAN, np.float32(0.5), "a b")] == [
        "–", "yes", "3", "0.3", "–", "0.5", "a b",
    ]  # fmt: skip


def test_a_record_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="2 steps and 1 values"):
        Curve("loss", (1.0, 2.0), (0.5,), "val")
    with pytest.raises(ValueError, match="does not fit 4 classes"):
        record(confusion=np.zeros((3, 3), np.int64))


def test_the_file_is_the_page_in_utf8_and_appears_whole(tmp_path):
    write_training_page(tmp_path / "training.html", record())
    assert (tmp_path / "training.html").read_text("utf-8") == training_page(record())
    assert [p.name for p in tmp_path.iterdir()] == ["training.html"]
    with pytest.raises(OutputError):
        write_training_page(tmp_path / "missing" / "training.html", record())


def luminance(color):
    """Relative luminance of sRGB values 0 to 1, WCAG 2.2."""
    linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_share_of_the_confusion_can_be_read(scheme):
    css = read_template("page.css")

    def color(name):
        (value,) = re.findall(rf"--{name}: #(\w{{6}})", css.split(":root {")[1 + scheme])
        return np.array([*bytes.fromhex(value)]) / 255

    for share in np.linspace(0.01, 1, 100):
        for right in (False, True):
            cell = MatrixCell(10, share, right)
            base = color("card") if right else 0.35 * color("line") + 0.65 * color("card")
            depth = cell.depth
            ground = depth * color("right" if right else "wrong") + (1 - depth) * base
            pair = sorted((luminance(ground), luminance(color("strong" if cell.strong else "ink"))))
            assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (share, right)
