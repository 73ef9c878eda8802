import pytest

from geoseg.core.errors import BundleError
from geoseg.models.onnx_file import check_alone, read_onnx_facts


def field(number, value):
    """One field of a protobuf message: bytes, text, or a number."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value):
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def info(name, shape):
    dims = b"".join(field(1, field(1, d) if isinstance(d, int) else field(2, d)) for d in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))


def tensor(name, location=None):
    elsewhere = (
        b"" if location is None else field(13, field(1, "location") + field(2, location)) + field(14, 1)
    )
    return field(1, 2) + field(8, name) + (elsewhere or field(9, b"\0" * 8))


def node(kind, inputs, output, *attributes):
    return b"".join([
        *(field(1, i) for i in inputs), field(2, output), field(4, kind), *(field(5, a) for a in attributes),
    ])  # fmt: skip


def model(*parts, metadata=()):
    graph = b"".join([
        field(1, node("Conv", ["x", "w"], "a")), field(1, node("Cast", ["a"], "y")), field(5, tensor("w")),
        field(11, info("x", ("n", 4, 256, 256))), field(11, info("w", (2,))),
        field(12, info("y", ("n", 3, "h", "w"))),
        *parts,
    ])  # fmt: skip
    entries = b"".join(field(14, field(1, k) + field(2, v)) for k, v in metadata)
    return field(1, 8) + field(2, "maker") + field(7, graph) + entries


def write(folder, data):
    path = folder / "m.onnx"
    path.write_bytes(data)
    return path


def test_what_a_file_says_is_read_without_a_library(tmp_path):
    facts = read_onnx_facts(
        write(tmp_path, model(metadata=[("resolution", "10"), ("model_type", "Segmentor")]))
    )
    assert facts.producer == "maker"
    assert facts.inputs == {"x": ("n", 4, 256, 256)}
    assert facts.outputs == {"y": ("n", 3, "h", "w")}
    assert facts.made_by == {"y": "Conv"}
    assert facts.metadata == {"resolution": "10", "model_type": "Segmentor"}
    assert facts.external == []


@pytest.mark.parametrize("name", ["model.onnx.data", "/etc/passwd", "../x", ""])
@pytest.mark.parametrize("where", ["weight", "attribute", "inner graph", "sparse"])
def test_tensors_in_other_files_are_found_wherever_they_are_named(tmp_path, name, where):
    outside = tensor("z", name)
    part = {
        "weight": field(5, outside),
        "attribute": field(1, node("Constant", [], "c", field(1, "value") + field(5, outside))),
        "inner graph": field(1, node("If", ["x"], "c", field(6, field(5, outside)))),
        "sparse": field(15, field(1, outside)),
    }[where]
    path = write(tmp_path, model(part))
    assert read_onnx_facts(path).external == [name]
    with pytest.raises(BundleError, match="keeps tensors in other files"):
        check_alone(path)


def nested(depth):
    graph = b""
    for _ in range(depth):
        graph = field(1, node("If", [], "c", field(6, graph)))
    return graph


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"not a protobuf", model()[:-3], b"\xff" * 50, model(nested(100)), field(7, 5), field(1, 8)],
)
def test_what_is_no_onnx_file_is_refused_in_one_line(tmp_path, data):
    with pytest.raises(BundleError, match=r"m\.onnx: (is no ONNX file|cannot be read)") as caught:
        read_onnx_facts(write(tmp_path, data))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
