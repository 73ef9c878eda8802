"""Lists of scenes: texts, tables and tile indexes."""

import csv
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from hypothesis import strategies as st

from geoseg.scenes.listing import FACTS, NAMES, PATHS
from tests.fuzz.commands import command
from tests.fuzz.values import DAMAGES, NUMBERS, TEXTS, Damage, damaged
from tests.fuzz.world import World


@dataclass(frozen=True)
class SceneList:
    """A list of scenes in a file."""

    suffix: str
    columns: tuple[str, ...] = ("name", "path")
    rows: tuple[tuple[Any, ...], ...] = (("a", "scene.tif"),)
    damage: Damage = ()
    glob: str = ""
    """A pattern instead of a file."""


_CELLS = st.one_of(
    st.sampled_from(["scene.tif", "toy", "chips/images/c1.tif", *TEXTS]),
    st.sampled_from(NUMBERS),
    st.sampled_from(
        [None, True, "2024-06-01T10:00:00Z", "../scene.tif", "scene.tif # x", '"', "a,b", "a;b", "name"]
    ),
)


@st.composite
def _lists(draw: st.DrawFn) -> SceneList:
    columns = draw(
        st.lists(
            st.sampled_from([*PATHS, *NAMES, *FACTS, "", "PATH", " path ", "x" * 3000, "geometry"]),
            min_size=1,
            max_size=4,
        )
    )
    rows = draw(st.lists(st.tuples(*[_CELLS] * len(columns)), max_size=4))
    return SceneList(
        draw(st.sampled_from([".csv", ".txt", ".gpkg", ".geojson", ".parquet", ".fgb", ".dbf"])),
        tuple(columns),
        tuple(rows),
    )


_DAMAGED = st.builds(
    SceneList, st.sampled_from([".csv", ".txt", ".gpkg", ".geojson", ".parquet"]), damage=DAMAGES
)
_GLOBS = st.sampled_from(
    [
        "**",
        "*",
        "[",
        "chips/**/*.tif",
        "*.tif",
        "toy/*",
        "pipe",
        "run",
        "?",
        "[!a]*",
        "{a,b}",
        "\x00*",
        "**/" * 30 + "*",
        "~/*.none",
    ]
)
CASES = st.one_of(_lists(), _lists(), _DAMAGED, _GLOBS.map(lambda g: SceneList("", glob=g)))
EXAMPLES = (SceneList(".csv"), SceneList(".gpkg"), SceneList(".txt", rows=(("scene.tif",),)))


def check(world: World, case: SceneList) -> None:
    """Plan the scenes of the list."""
    source = case.glob or write(case)
    command(world, "run", "base.yaml", "--dry-run", "--set", "scene={uri: scene.tif}", f"--scenes={source}")
    command(
        world,
        "run",
        "base.yaml",
        "--dry-run",
        "--json",
        "--set",
        "scene={folder: chips/images, bands: {nir: c1.tif}}",
        f"--scenes={source}",
    )


def write(case: SceneList) -> str:
    """Write the list; return the name of the file."""
    file = Path(f"case{case.suffix}")
    if case.suffix == ".txt":
        data = "\n".join(" ".join(map(str, row)) for row in case.rows).encode("utf-8", "surrogatepass")
    elif case.suffix == ".csv":
        text = io.StringIO()
        csv.writer(text).writerows([case.columns, *case.rows])
        data = text.getvalue().encode("utf-8", "surrogatepass")
    else:
        frame = pd.DataFrame([tuple(map(_cell, row)) for row in case.rows], columns=list(case.columns))
        frame = frame.loc[:, ~frame.columns.str.lower().duplicated()]
        data = _table(frame, file)
    file.write_bytes(damaged(data, case.damage))
    return str(file)


def _cell(value: Any) -> Any:
    return (
        value.encode(errors="replace").decode()
        if isinstance(value, str)
        else value
        if isinstance(value, float)
        else str(value)
    )


def _table(frame: pd.DataFrame, file: Path) -> bytes:
    import geopandas as gpd
    from hypothesis import reject

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if file.suffix == ".parquet":
                frame.to_parquet(file)
            else:
                shapes = gpd.GeoSeries.from_xy(range(len(frame)), [0] * len(frame), crs="EPSG:4326")
                gpd.GeoDataFrame(frame.drop(columns="geometry", errors="ignore"), geometry=shapes).to_file(
                    file
                )
    except Exception:  # noqa: BLE001 (what no library writes is no case)
        file.unlink(missing_ok=True)
        reject()
    return file.read_bytes()
