"""A finished run: its record, and its maps and polygons as objects."""

import base64
import html
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.config.run_record import RunRecord
from geoseg.core.doubt import DOUBT_LAYER
from geoseg.core.errors import OutputError
from geoseg.core.files import as_output_error
from geoseg.core.legend import NO_OBJECT, NODATA, cf_flags
from geoseg.core.paths import at_home, plain_path
from geoseg.core.run_files import RunFile
from geoseg.runs.record import read_record
from geoseg.scenes import sources
from geoseg.scenes.windows import WindowArray
from geoseg.storage.store import is_uri, open_store, within

if TYPE_CHECKING:
    import geopandas
    import xarray

_CHUNK = 2048
"""Rows and columns of a chunk: whole internal tiles of 512 px."""


@dataclass(frozen=True, repr=False)
class Run:
    """A finished run folder.

    Examples
    --------
    >>> run = geoseg.open_run("outputs/example")
    >>> run.record.plan.tile
    (1184, 1184)
    >>> run.confidence().sizes
    Frozen({'y': 1947, 'x': 1933})
    >>> run.polygons().columns[:3].to_list()
    ['class_id', 'class_name', 'area_m2']
    """

    folder: Path | str
    """A folder, or a URI."""
    record: RunRecord
    """The content of `run.json`."""

    @property
    def report(self) -> Path | str:
        """The page of the run, `report.html`: a path, or a URI."""
        return within(self.folder, RunFile.PAGE)

    def classes(self) -> "xarray.DataArray":
        """Return the class map: ids, uint8, shape (y, x), 255 where there is no data.

        The array is lazy. Its attributes name the classes by the CF conventions (`flag_values`,
        `flag_meanings`); `flag_colors` holds their colours.

        Raises
        ------
        OutputError
            When the file is missing.
        SceneError
            When it cannot be read.
        """
        return self._map(RunFile.CLASSES, "classes", cf_flags(self.record.classes))

    def values(self) -> "xarray.DataArray":
        """Return the map of a regression: numbers in their unit, float32, shape (y, x), NaN without data.

        The array is lazy. Its attributes are `long_name` and `units`.

        Raises
        ------
        OutputError
            When the run is of another kind, or the file is missing.
        SceneError
            When it cannot be read.
        """
        said = self.record.values
        about = (
            {} if said is None else {"long_name": said.title, **({"units": said.unit} if said.unit else {})}
        )
        return self._map(RunFile.VALUES, "values", about)

    def labels(self) -> "xarray.DataArray":
        """Return the map of labels: 0 or 1, uint8, shape (class_name, y, x), 255 where there is no data.

        The array is lazy.

        Raises
        ------
        OutputError
            When the run is of another kind, or the file is missing.
        SceneError
            When it cannot be read.
        """
        import xarray  # noqa: PLC0415 (as in `_map`)

        about = {"long_name": "whether a pixel has the label"}
        bands = [
            self._map(RunFile.LABELS, "labels", about, band=i + 1) for i in range(len(self.record.classes))
        ]
        names = xarray.Variable("class_name", [c.slug for c in self.record.classes])
        found: xarray.DataArray = xarray.concat(bands, dim="class_name").assign_coords(class_name=names)
        found.encoding["_FillValue"] = NODATA
        return found

    def confidence(self) -> "xarray.DataArray":
        """Return the probability of the chosen class: 0 to 1, float32, shape (y, x), NaN without data.

        The array is lazy.

        Raises
        ------
        OutputError
            When the run wrote no confidence map.
        SceneError
            When it cannot be read.
        """
        return self._layer(RunFile.CONFIDENCE, "confidence", "probability of the chosen class")

    def disagreement(self) -> "xarray.DataArray":
        """Return by how much the networks of an ensemble disagree: 0 to 1, float32, shape (y, x).

        The array is lazy, NaN without data. See `geoseg.tiling.ensemble.disagreement` for the measure.

        Raises
        ------
        OutputError
            When the run wrote no such map.
        SceneError
            When it cannot be read.
        """
        return self._layer(RunFile.DISAGREEMENT, "disagreement", "disagreement of the networks")

    def strangeness(self) -> "xarray.DataArray":
        """Return how far pixels are from the training pixels, 1 where 99 of 100 of these end.

        Float32, shape (y, x), 2.54 for all beyond, NaN without data. The array is lazy.

        Raises
        ------
        OutputError
            When the run wrote no such map.
        SceneError
            When it cannot be read.
        """
        return self._layer(RunFile.STRANGENESS, "strangeness", "distance from the training pixels")

    def instances(self) -> "xarray.DataArray":
        """Return the numbers of the objects: uint32, shape (y, x), 0 where there is none.

        The array is lazy. The column `object_id` of the polygons has the same numbers.

        Raises
        ------
        OutputError
            When the run wrote no objects.
        SceneError
            When it cannot be read.
        """
        about = {"long_name": "number of the object"}
        return self._map(RunFile.INSTANCES, "instances", about, nodata=NO_OBJECT)

    def polygons(self) -> "geopandas.GeoDataFrame":
        """Return the polygons with class, area, perimeter and confidence or score, in the CRS of the file.

        Raises
        ------
        OutputError
            When the run wrote no polygons, or they lie in an object store.
        """
        import geopandas  # noqa: PLC0415 (pandas is slow to import)

        forms = (RunFile.GEOPACKAGE, RunFile.GEOPARQUET, RunFile.FLATGEOBUF, RunFile.GEOJSON)
        path = self._local(next((f for f in forms if f in self.record.outputs), RunFile.GEOPACKAGE))
        layer = {"layer": self.record.name} if path.suffix == ".gpkg" else {}
        with as_output_error(path, "read"), plain_path(path) as plain:
            if path.suffix == ".parquet":
                return geopandas.read_parquet(plain)
            return geopandas.read_file(plain, **layer)

    def doubt(self) -> "geopandas.GeoDataFrame":
        """Return the outlines of what is not to be trusted, with the reason and mean values of their pixels.

        Raises
        ------
        OutputError
            When the run wrote none, or they lie in an object store.
        """
        import geopandas  # noqa: PLC0415 (as in `polygons`)

        path = self._local(RunFile.DOUBT)
        with as_output_error(path, "read"), plain_path(path) as plain:
            return geopandas.read_file(plain, layer=DOUBT_LAYER)

    def _layer(self, name: RunFile, title: str, long_name: str) -> "xarray.DataArray":
        """Return a raster with NaN instead of its fill value, because xarray's statistics skip it."""
        found = self._map(name, title, {"long_name": long_name})
        return found.where(found != NODATA)

    def _map(
        self, name: RunFile, title: str, attributes: dict[str, Any], *, band: int = 1, nodata: int = NODATA
    ) -> "xarray.DataArray":
        # Slow to import, and needed only here.
        import dask.array  # noqa: PLC0415
        import xarray  # noqa: PLC0415
        from odc.geo.xr import xr_coords  # noqa: PLC0415

        source = sources.inspect(str(self._place(name)))
        raster = WindowArray(
            tuple(source.geobox.shape), source.dtype(1), lambda w: sources.read(source, [band], w)[0][0]
        )
        lazy = dask.array.from_array(
            raster, chunks=(_CHUNK, _CHUNK), name=False, asarray=False, meta=np.empty(0, raster.dtype)
        )
        y, x = source.geobox.dimensions
        coords: Any = xr_coords(source.geobox)
        found = xarray.DataArray(lazy, dims=(y, x), coords=coords, name=title, attrs=attributes)
        found.encoding["_FillValue"] = np.nan if raster.dtype.kind == "f" else nodata
        return found

    def _place(self, name: RunFile) -> Path | str:
        if name not in self.record.outputs:
            raise OutputError(f"{self.folder}: the run wrote no {name}")
        return within(self.folder, name)

    def _local(self, name: RunFile) -> Path:
        place = self._place(name)
        if is_uri(place):
            raise OutputError(f"{place}: lies in an object store; copy it to this machine first")
        return Path(place)

    def _shares(self) -> list[tuple[str, str, str, str]]:
        """Return title, colour, share and area of each class, as text."""
        record = self.record
        if (said := record.values) is not None:
            unit = f" {said.unit}" if said.unit else ""
            return [(said.title, "transparent", f"{said.least:.4g} to {said.most:.4g}{unit}",
                     f"mean {said.mean:.4g}{unit}")]  # fmt: skip
        valid = record.plan.width * record.plan.height - record.pixels["nodata"] or 1
        return [
            (
                c.title,
                c.color,
                f"{100 * record.pixels.get(c.slug, 0) / valid:.2f} %",
                "" if record.area_m2 is None else f"{record.area_m2[c.slug] / 1e6:.3f} km²",
            )
            for c in record.classes
        ]

    def __repr__(self) -> str:
        plan = self.record.plan
        return (
            f"<Run {self.record.name}: {plan.scene}, {plan.width} x {plan.height} px, {plan.model}, "
            f"{self._kind()}, in {self.folder}>"
        )

    def _kind(self) -> str:
        """Return what the map holds, in words."""
        if self.record.values is not None:
            return self.record.values.title
        return f"{len(self.record.classes)} {'labels' if self.record.task == 'multilabel' else 'classes'}"

    def _repr_html_(self) -> str:
        """Return the quicklook and the areas, for notebooks."""
        store, image = open_store(self.folder), ""
        with as_output_error(store.at(RunFile.QUICKLOOK), "read"):
            data = store.read(RunFile.QUICKLOOK)
        if data is not None:
            code = base64.b64encode(data).decode()
            image = (
                f'<img src="data:image/png;base64,{code}" alt="scene and classes" style="max-width: 100%">'
            )
        rows = "".join(
            f'<tr><td><span style="background: {html.escape(color)}">&emsp;</span> {html.escape(title)}</td>'
            f"<td>{share}</td><td>{area}</td></tr>"
            for title, color, share, area in self._shares()
        )
        heading = html.escape(f"{self.record.name}: {self.record.plan.scene}, in {self.folder}")
        return f"<div><p>{heading}</p>{image}<table>{rows}</table></div>"


def open_run(folder: Path | str) -> Run:
    """Open a finished run.

    Parameters
    ----------
    folder
        The run folder, or its URI in an object store.

    Raises
    ------
    OutputError
        When the folder holds no finished run, or its record is damaged or of another format.

    Examples
    --------
    >>> geoseg.open_run("outputs/example")
    <Run landcover: sentinel2-sample, 1933 x 1947 px, landcover-s2, 6 classes, in outputs/example>
    """
    return Run(folder if is_uri(folder) else at_home(Path(folder)), read_record(open_store(folder)))
