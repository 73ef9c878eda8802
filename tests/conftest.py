"""Fixtures: small rasters made on the spot and a small network with random weights."""

import ctypes
import functools
import gc
import json
import os
import subprocess
import textwrap
import warnings
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from geoseg.core.process import configure_process
from tests import conversions, processes

ROOT = Path(__file__).parent.parent
UTM = "EPSG:32633"

# One thread for every process: results must not depend on the machine that tests them, and where several
# processes share its cores, threads of small networks spend most of their time on waiting for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
configure_process()
# Processes of tests find the bytecode of geoseg even where none is written: compiling it takes 0.3 s.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Networks that are converted once need not be converted again by the next run of the tests.
os.environ.setdefault("GEOSEG_CACHE", str(ROOT / ".pytest_cache" / "geoseg"))


LONG = (
    "test_readme.py", "test_train.py", "test_examples.py", "test_memory.py", "test_wheel.py",
    "test_ensemble.py", "test_resume.py", "test_faults.py", "test_s3.py", "test_segmenter.py",
    "test_architectures.py", "test_run_folder.py", "test_importer.py", "test_public.py", "test_sample.py",
)  # fmt: skip
"""The files that take longest, so that no worker begins one of them when the other is nearly done."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import and collect without looking for garbage: nearly all of it stays, and is frozen then."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


CACHES = {
    ".hypothesis", ".pytest_cache", ".ruff_cache", ".mypy_cache", ".import_linter_cache", ".coverage",
    "__pycache__",
}  # fmt: skip
"""What tools may leave in the root of the repository; tests write to folders of their own."""

_ROOT = pytest.StashKey[set[str]]()


def left_behind(before: set[str], root: Path) -> list[str]:
    """Return the names in a folder that were not there before and are no caches of tools."""
    return sorted({path.name for path in root.iterdir()} - before - CACHES)


def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):  # workers of xdist begin later
        session.config.stash[_ROOT] = {path.name for path in ROOT.iterdir()}


def pytest_sessionfinish(session: pytest.Session) -> None:
    before = session.config.stash.get(_ROOT, None)
    if before is not None and (left := left_behind(before, ROOT)):
        print(f"\ntests left these in {ROOT}: {', '.join(map(repr, left))}; let them write to tmp_path")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="module", autouse=True)
def memory_given_back():
    """Give memory that networks left free back to the system: one process runs hundreds of tests.

    What stays lies frozen: to look through all imported modules and collected tests again takes a second.
    """
    yield
    gc.collect()
    gc.freeze()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


@pytest.fixture(scope="session")
def small_pictures():
    """Draw quicklooks with a ninth of the pixels, whose compression takes a fifth of a small run.

    Commands in processes of their own draw all of them, as do the tests of the quicklook.
    """
    import matplotlib as mpl

    with mpl.rc_context({"savefig.dpi": 36}):
        yield


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs of this process draw no pictures and pages, which take most of the time of a small one."""
    from geoseg.runs import outputs, scene_run

    def write(path: Path) -> Path:
        path.write_bytes(b"")
        return path

    monkeypatch.setattr(outputs, "read_picture", lambda _: None)
    monkeypatch.setattr(outputs, "write_picture", lambda _, folder, *__: write(folder / "quicklook.png"))
    monkeypatch.setattr(scene_run, "write_run_project", lambda *_: [])
    page = lambda self, *_: write(self.folder.workspace / "report.html")  # noqa: E731
    monkeypatch.setattr(scene_run.SceneRun, "_page", page)


@pytest.fixture(scope="session", autouse=True)
def _conversions_here():
    """Convert networks in the process of the tests: a new one spends four seconds on importing torch.

    Commands convert in a process of their own, as do the tests of the conversion itself.
    """
    from geoseg.models.backends import openvino_model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openvino_model, "subprocess", conversions)
        yield


@pytest.fixture(scope="session", autouse=True)
def _tiles_here():
    """Make vector tiles in the process of the tests: a new one spends two seconds on its imports.

    Commands make them in a process of their own, as do the tests of such processes.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geoseg.core.apart.call_apart", lambda function, *arguments: function(*arguments))
        yield


def write_raster(
    path: Path,
    values: NDArray,
    *,
    gsd: float = 10.0,
    origin: tuple[float, float] = (500_000.0, 4_500_000.0),
    crs: str | None = UTM,
    names: Sequence[str] = (),
    nodata: float | None = None,
    scale: float | None = None,
    **options,
) -> Path:
    """Write (bands, rows, cols) as a GeoTIFF whose upper-left corner lies at `origin`."""
    planes = values if values.ndim == 3 else values[None]
    transform = Affine(gsd, 0, origin[0], 0, -gsd, origin[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", count=len(planes), height=planes.shape[1], width=planes.shape[2],
        dtype=planes.dtype, crs=crs, transform=transform, nodata=nodata, **options,
    ) as dst:  # fmt: skip
        dst.write(planes)
        if names:
            dst.descriptions = tuple(names)
        if scale is not None:
            dst.scales = (scale,) * len(planes)
    return path


def reflectance(height: int, width: int, seed: int = 0, bands: int = 4) -> NDArray[np.uint16]:
    """Smooth patches with noise, as reflectance x 10000 around 0.1 to 0.3, shape (bands, rows, cols)."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0.05, 0.4, (bands, height // 16 + 2, width // 16 + 2))
    smooth = coarse.repeat(16, axis=1).repeat(16, axis=2)[:, :height, :width]
    noisy = smooth + rng.normal(0, 0.01, (bands, height, width))
    return np.rint(noisy.clip(0.001, 1) * 10_000).astype(np.uint16)


BAND_NAMES = ("blue", "green", "red", "nir")


def write_photograph(path: Path, values: NDArray, *, scale: float | None = None, **options) -> Path:
    """Write (bands, rows, cols) as a GeoTIFF that has no georeference, with band names and overviews."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", count=len(values), height=values.shape[1], width=values.shape[2],
            dtype=values.dtype, tiled=True, blockxsize=64, blockysize=64, **options,
        ) as dst:  # fmt: skip
            dst.write(values)
            dst.descriptions = BAND_NAMES[: len(values)]
            if scale is not None:
                dst.scales = (scale,) * len(values)
        with rasterio.open(path, "r+") as dst:
            dst.build_overviews([2, 4])
    return path


def make_bundle(folder: Path, *, architecture: str = "Unet", seed: int = 0, classes: int = 3, **card_changes):
    """Write a bundle with a small network and random weights: 4 bands, tiles of 64 to 512 px, 10 m."""
    import torch

    from geoseg.models.bundle import save_bundle
    from geoseg.models.card import Card
    from geoseg.models.networks.architectures import build

    torch.manual_seed(seed)
    lite, narrow = {"encoder_name": "tu-tf_efficientnet_lite0", "encoder_depth": 3}, {"decoder_channels": 16}
    arguments = {
        "Unet": {**lite, "decoder_channels": (16, 8, 8)},
        "UnetPlusPlus": {**lite, "decoder_channels": (16, 8, 8)},
        "MAnet": {**lite, "decoder_channels": (16, 8, 8), "decoder_pab_channels": 8},
        "Linknet": lite,
        "FPN": {
            "encoder_name": "resnet18",
            "decoder_pyramid_channels": 32,
            "decoder_segmentation_channels": 32,
        },
        "PSPNet": {"encoder_name": "resnet18", "psp_out_channels": 32},
        "PAN": {"encoder_name": "resnet18", **narrow},
        "DeepLabV3": {"encoder_name": "resnet18", **narrow},
        "DeepLabV3Plus": {"encoder_name": "resnet18", **narrow},
        "UPerNet": {"encoder_name": "resnet18", **narrow},
        "Segformer": {"encoder_name": "mit_b0", "decoder_segmentation_channels": 32},
        "DPT": {
            "encoder_name": "tu-vit_tiny_patch16_224",
            "decoder_intermediate_channels": (16, 16, 16, 16),
            "decoder_fusion_channels": 16,
            "dynamic_img_size": True,
            "num_classes": 0,
        },
        "FCN": {"encoder_name": "resnet50"},
        "SegNet": {"encoder_name": "vgg11", "encoder_depth": 3},
    }[architecture]
    network = build({"_model_class": architecture, "in_channels": 4, "classes": classes, **arguments})
    # Spread and centre the logits: with the usual small start all pixels would get one class.
    last = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)][-1]
    with torch.no_grad():
        last.weight.mul_(25.0)
        last.bias.sub_(network.eval()(torch.randn(2, 4, 128, 128)).mean(dim=(0, 2, 3)))
    bands = [
        {"name": n, "common_name": n, "wavelength_um": w, "mean": 0.22, "std": 0.1}
        for n, w in zip(BAND_NAMES, (0.49, 0.56, 0.665, 0.842), strict=True)
    ]
    colors = ("#1b7837", "#f2cf63", "#2b7bba", "#d7301f", "#b8a99a")
    fields = {
        "name": "toy", "version": "1", "title": "Toy & test", "bands": bands, "gsd_m": {"min": 10, "max": 10},
        "tile": {"size": 128, "min": 64, "max": 512, "overlap": 32, "divisor": 32},
        "classes": [
            {"id": i + 1, "slug": f"class-{i + 1}", "title": f"Class {i + 1}", "color": colors[i]}
            for i in range(classes)
        ],
        "memory_bytes_per_pixel": 400.0,
        "weights_sha256": "0" * 64,
    }  # fmt: skip
    return save_bundle(network, Card.model_validate({**fields, **card_changes}), folder)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, small_pictures):
    """A small U-Net."""
    return make_bundle(tmp_path_factory.mktemp("bundles") / "toy")


@pytest.fixture
def scene_file(tmp_path: Path) -> Path:
    """A 4-band uint16 scene of 300 x 260 px at 10 m with declared scale and band names."""
    return write_raster(tmp_path / "scene.tif", reflectance(300, 260), names=BAND_NAMES, scale=0.0001)


@pytest.fixture
def pipeline_file(tmp_path: Path, scene_file: Path, bundle) -> Path:
    """A pipeline over `scene_file` with the small U-Net, writing to `tmp_path / out`."""
    return write_pipeline(tmp_path, scene_file, bundle.folder)


def write_pipeline(folder: Path, scene: Path | str, bundle: Path, *more: str) -> Path:
    """Write a pipeline file; `more` are further lines."""
    path = folder / "pipeline.yaml"
    text = f"""\
        name: toy
        scene: {scene}
        model: {bundle}
        outputs: {{folder: {folder / "out"}}}
        """
    path.write_text(textwrap.dedent(text) + "\n".join(more) + "\n")
    return path


@pytest.fixture
def geoseg() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line in a process of its own, as a user does."""
    return functools.partial(processes.run, "geoseg")


@pytest.fixture
def geoseg_here(monkeypatch: pytest.MonkeyPatch) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line in this process, for tests of what it says: a new process takes two seconds."""
    from typer.testing import CliRunner

    from geoseg.cli.app import app

    monkeypatch.chdir(ROOT)

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        with warnings.catch_warnings():
            done = CliRunner().invoke(app, list(map(str, arguments)))
        return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)

    return call


def read_manifest(folder: Path) -> dict:
    """Return the content of a run folder's `run.json`."""
    return json.loads((folder / "run.json").read_text())


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory):
    """An S3 endpoint for the whole session; skips, and says so, where moto is not installed."""
    pytest.importorskip("moto.server", reason="the S3 tests need: pip install 'geoseg[dev]'")
    from tests.s3 import serve

    with serve(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3(s3_server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The endpoint, with the environment of this process and its children set to reach it.

    Each test has a cache of its own, but for networks that need not be converted again.
    """
    from geoseg.core.cache import cache_folder
    from geoseg.storage import aws, object_store

    for name in [n for n in os.environ if n.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    converted = cache_folder() / "openvino"
    converted.mkdir(parents=True, exist_ok=True)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/openvino").symlink_to(converted)
    monkeypatch.setenv("GEOSEG_CACHE", str(tmp_path / "cache"))
    caches = aws.access, aws._session, object_store._client
    for cached in caches:
        cached.cache_clear()
    yield s3_server
    for cached in caches:
        cached.cache_clear()
