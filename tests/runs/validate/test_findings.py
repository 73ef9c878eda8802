from geoseg.runs.validate.findings import CheckGroup, Failure, Report


def test_messages_stand_below_their_group_and_are_counted_apart_from_files():
    failures = tuple(
        Failure(n, "size", "1 bytes", f"{i} bytes") for i, n in enumerate(["a.tif", "a.tif", "b.tif"])
    )
    report = Report("out", (
        CheckGroup("files", "3 outputs", failures, more=4), CheckGroup("item", "item.json", ()),
    ))  # fmt: skip
    assert report.to_text().splitlines() == [
        "files     failed  3 outputs",
        "          a.tif: size: expected 1 bytes, found 0 bytes",
        "          a.tif: size: expected 1 bytes, found 1 bytes",
        "          b.tif: size: expected 1 bytes, found 2 bytes",
        "          and 4 more like these",
        "item      ok      item.json",
        "7 messages about 2 files of out",
    ]


def test_a_whole_run_is_told_without_a_sum():
    assert Report("out", (CheckGroup("item", "item.json", ()),)).to_text() == "item      ok      item.json"


def test_one_message_is_one():
    report = Report("out", (CheckGroup("item", "item.json", (Failure("item.json", "id", "a", "b"),)),))
    assert report.to_text().endswith("1 message about 1 file of out")
