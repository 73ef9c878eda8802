"""Where the network of `segment` runs."""

import warnings
from dataclasses import dataclass

import dask
from distributed import Client, get_client

from geoseg.config.pipeline import Inference
from geoseg.core.errors import ClusterError, GeosegWarning, listed
from geoseg.inference.precision import choose_precision
from geoseg.inference.workers import RESOURCE
from geoseg.models.backends.auto import (
    device_for,
    forward_passes,
    resolve_backend,
    resolve_device,
    resolve_precision,
)
from geoseg.models.backends.spec import SegmenterSpec
from geoseg.models.bundle import Bundle

_OTHERS = 2
"""Other networks that stay loaded: what is lazy may be computed by several in turn, a mask and a map."""


@dataclass(frozen=True)
class Place:
    """Where the network runs."""

    segmenter: SegmenterSpec
    resources: dict[str, int] | None
    """Resources of Dask that a prediction asks for."""
    here: bool
    """Whether threads of this process compute it, and no client."""


def choose_place(inference: Inference, bundle: Bundle, pixels: int, *, lazy: bool, beside: int = 0) -> Place:
    """Return where the network runs: on the workers of the active Dask client, else in this process.

    Parameters
    ----------
    inference
        Device, backend and precision, with `auto`.
    bundle
        The model.
    pixels
        Pixels of the scene.
    lazy
        Whether the work is left to Dask; otherwise it is done here and now.
    beside
        Other networks that work on each block: the rest of an ensemble.

    Raises
    ------
    ConfigError
        When a device, backend or precision is not there.
    ClusterError
        When the workers of the client differ.
    """
    wanted = device_for(bundle, inference.device)
    client = active_client() if lazy else None
    workers = {} if client is None else client.scheduler_info(n_workers=-1)["workers"]
    here = client is None or not workers
    if here:
        device, resources = resolve_device(wanted), None
        passes = forward_passes(device, 1)
    else:
        offering = {at: w for at, w in workers.items() if RESOURCE in (w.get("resources") or {})}
        resources = {RESOURCE: 1} if offering else None
        if (
            0 < len(offering) < len(workers)
            and dask.config.get("optimization.fuse.active", None) is not False
        ):
            warnings.warn(
                f"segment: {len(offering)} of {len(workers)} workers offer the resource {RESOURCE}; "
                "Dask keeps to them without fusion: dask.config.set({'optimization.fuse.active': False})",
                GeosegWarning,
                stacklevel=4,
            )
        device = _device_of(client, wanted, list(offering or workers))
        threads = [w["nthreads"] for at, w in workers.items() if at in (offering or workers)]
        passes = 1 if device != "cpu" else max(1, min(threads))
    precision = resolve_precision(inference.precision, device)
    backend = resolve_backend(inference.backend, bundle, device, precision)
    precision = choose_precision(inference.precision, precision, backend, bundle, pixels, here=here)
    spec = SegmenterSpec(
        bundle.place, bundle.sha256, device, backend, precision, inference.augment, passes,
        others=_OTHERS + beside, trust=bundle.trusted,
    )  # fmt: skip
    return Place(spec, resources, here)


def active_client() -> Client | None:
    """Return the Dask client that computes what is lazy; None: threads or processes of this machine do."""
    try:
        return get_client()
    except ValueError:
        return None


def _device_of(client: Client, device: str, workers: list[str]) -> str:
    """Return the device that the workers have.

    Raises
    ------
    ClusterError
        When `auto` means another one on each of them, or one lacks the device.
    """
    if device == "cpu":
        return device
    found = client.run(resolve_device, device, workers=workers, on_error="return")
    failed = [f"{at}: {e}" for at, e in found.items() if isinstance(e, Exception)]
    if failed:
        raise ClusterError(f"segment: the workers cannot use the device {device}: {listed(failed, 1)}")
    devices = set(found.values())
    if len(devices) > 1:
        raise ClusterError(
            f"segment: the workers of the client have different devices ({', '.join(sorted(devices))}); say "
            "which: device='cpu'"
        )
    return str(devices.pop())
