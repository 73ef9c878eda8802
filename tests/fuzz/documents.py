"""Pipelines, catalogs, legends, clusters, trainings and `--set` texts."""

from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

from geoseg.config.cluster import ClusterFile
from geoseg.config.dataset import CatalogDocument
from geoseg.config.legend import LegendDocument
from geoseg.config.pipeline import Pipeline
from geoseg.config.training import Training
from tests.fuzz import world
from tests.fuzz.commands import command
from tests.fuzz.values import NUMBERS, STRANGE, TEXTS, as_yaml, documents, fitting, schema_places
from tests.fuzz.world import World

_PIPELINE = Pipeline.model_json_schema()
_KEYS = schema_places(_PIPELINE)


@dataclass(frozen=True)
class Document:
    """A document of a kind."""

    kind: str
    text: bytes


@dataclass(frozen=True)
class Changes:
    """Texts of `--set`."""

    texts: tuple[str, ...]


@st.composite
def _change(draw: st.DrawFn) -> str:
    path, node = draw(st.sampled_from(_KEYS))
    key = ".".join(map(str, path))
    if draw(st.booleans()):
        value = draw(st.one_of(fitting(node, _PIPELINE), STRANGE))
        return f"{key}={as_yaml(value).decode(errors='replace').strip()}"
    words = st.sampled_from(
        [key, "", ".", "a.b", "scene.bands", "tiling", "x" * 400, "tiling." * 100, *TEXTS[:20]]
    )
    signs = st.sampled_from(["=", "", "==", " = "])
    values = st.sampled_from([*TEXTS, *NUMBERS, "{a: [", "[" * 99, "&a [*a]"])
    return f"{draw(words)}{draw(signs)}{draw(values)}"


CASES = st.one_of(
    documents(world.PIPELINE, _PIPELINE).map(lambda t: Document("pipeline", t)),
    documents(world.CATALOG, CatalogDocument.model_json_schema()).map(lambda t: Document("catalog", t)),
    documents(world.LEGEND, LegendDocument.model_json_schema()).map(lambda t: Document("legend", t)),
    st.sampled_from(world.CLUSTERS)
    .flatmap(lambda base: documents(base, ClusterFile.model_json_schema()))
    .map(lambda t: Document("cluster", t)),
    documents(world.TRAINING, Training.model_json_schema()).map(lambda t: Document("training", t)),
    st.lists(_change(), min_size=1, max_size=3).map(lambda texts: Changes(tuple(texts))),
)

EXAMPLES: tuple[Document | Changes, ...] = (
    Document("pipeline", as_yaml(world.PIPELINE)),
    Document("catalog", as_yaml(world.CATALOG)),
    Document("legend", as_yaml(world.LEGEND)),
    Document("training", as_yaml(world.TRAINING)),
    *(Document("cluster", as_yaml(c)) for c in world.CLUSTERS[:2]),
    # PyYAML raised an AttributeError.
    Document("catalog", b"!!timestamp scenes: {}\n"),
)


def check(made: World, case: Document | Changes) -> None:
    """Give a document to the commands that read it; none of them writes."""
    if isinstance(case, Changes):
        options = [word for text in case.texts for word in ("--set", text)]
        command(made, "run", "base.yaml", "--dry-run", *options)
        return
    Path("case.yaml").write_bytes(case.text)
    if case.kind in ("legend", "training", "cluster"):
        shelf = Path(f"configs/{'training' if case.kind == 'training' else case.kind + 's'}")
        shelf.mkdir(parents=True)
        (shelf / "case.yaml").write_bytes(case.text)
    match case.kind:
        case "pipeline":
            command(made, "run", "case.yaml", "--dry-run")
        case "catalog":
            command(made, "catalog", "list", "--catalog", "case.yaml")
            command(made, "catalog", "show", "fuzz", "--catalog", "case.yaml")
            command(made, "run", "base.yaml", "--dry-run", "--set", "scene=fuzz", "--catalog", "case.yaml")
        case "legend":
            Path("case.yaml").unlink()
            command(made, "inspect", "case")
            command(made, "evaluate", "--map", "labels.tif", "--reference", "labels.tif", "--legend", "case")
        case "cluster":
            command(made, "run", "base.yaml", "--dry-run", "--cluster", "case.yaml")
        case "training":
            command(made, "train", "case.yaml", "--dry-run")
