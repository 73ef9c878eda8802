"""Architectures by name.

A name is the `_model_class` of a bundle's `config.json`: the class name in segmentation_models_pytorch,
`FCN`, `SegNet` or `MaskRCNN`. The tile sizes that a network takes are not listed by name: tiles without
content (on torch's `meta` device) are sent through it, which works with any encoder and argument.
"""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from geoseg.core.errors import BundleError, one_line
from geoseg.models.networks.arguments import check_arguments
from geoseg.models.networks.encoders import check_encoder, offline
from geoseg.models.networks.fcn import FCN
from geoseg.models.networks.mask_rcnn import MaskRCNN
from geoseg.models.networks.own_code import build_own_code, is_own_code, not_trusted, own_config
from geoseg.models.networks.segnet import SegNet
from geoseg.models.networks.torchvision_networks import Torchvision

SMP = (
    "Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "PAN", "DeepLabV3", "DeepLabV3Plus",
    "UPerNet", "Segformer", "DPT",
)  # fmt: skip
REGISTRY: dict[str, Callable[..., nn.Module]] = {
    **{name: getattr(smp, name) for name in SMP}, "FCN": FCN, "SegNet": SegNet,
}  # fmt: skip
"""Networks that give a class to each pixel: (N, bands, rows, cols) to logits (N, classes, rows, cols)."""

DETECTORS: dict[str, Callable[..., nn.Module]] = {"MaskRCNN": MaskRCNN}
"""Networks that find objects."""

_POWERS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Divisors that are tried where a network does not say how its encoder shrinks a tile."""

FOREIGN: dict[str, Callable[..., nn.Module]] = {"Torchvision": Torchvision}
"""Networks that bundles hold when they were imported; none is trained from the start."""


def build(config: dict[str, Any], *, trust: bool = False) -> nn.Module:
    """Build a network with random weights.

    Parameters
    ----------
    config
        `_model_class` and the arguments of its constructor, as smp's `save_pretrained` writes them. Only
        those in `geoseg.models.networks.arguments` are accepted; `encoder_weights` is ignored: nothing is
        downloaded.
    trust
        Whether code that is not geoseg's may be imported, see `own_code`.

    Raises
    ------
    BundleError
        When the architecture, its encoder or its arguments are unknown, or its code is not trusted.
    """
    name, arguments = str(config.get("_model_class")), check_arguments(config)
    if is_own_code(name):
        if not trust:
            raise BundleError(not_trusted(name))
        return build_own_code(name, arguments)
    if name in SMP and "encoder_name" in arguments:
        check_encoder(arguments["encoder_name"])
    try:
        with offline():
            return {**REGISTRY, **DETECTORS, **FOREIGN}[name](encoder_weights=None, **arguments)
    except (
        TypeError, ValueError, LookupError, RuntimeError, OSError, AttributeError, AssertionError,
        ArithmeticError, ImportError,
    ) as error:  # fmt: skip
        raise BundleError(f"architecture {name} cannot be built: {one_line(error)[:160]}") from error


def divisor_of(config: dict[str, Any]) -> int:
    """Return the divisor of a network of geoseg's registries by its configuration; see `divisor`.

    A process asks for it whenever it opens a bundle, and computes it once: passes without content take
    tenths of a second.
    """
    return _divisor_of(json.dumps(config, sort_keys=True))


@lru_cache(maxsize=64)
def _divisor_of(config: str) -> int:
    return divisor(json.loads(config))


def divisor(network: nn.Module | dict[str, Any]) -> int:
    """Return the number of pixels of which the sides of a tile must be multiples.

    A vision transformer without `dynamic_img_size` takes tiles of a single size; that size is returned, and
    `is_global` is true, so its card says `min` = `size` = `max` = divisor.

    Parameters
    ----------
    network
        A network, or the configuration of one.

    Raises
    ------
    BundleError
        When the network returns no size of tile unchanged.
    """
    empty = without_content(network)
    if isinstance(empty, MaskRCNN):
        detector_stride: int = empty.encoder.output_stride
        return detector_stride
    stride: int | None = getattr(getattr(empty, "encoder", None), "output_stride", None)
    steps = _POWERS if stride is None else range(stride, 17 * stride, stride)
    # Two multiples without a common factor, so that the true divisor divides both only if it divides the
    # step; large ones, because small tiles fail where several poolings follow the encoder.
    for step in steps:
        if _returns(empty, 9 * step, 11 * step):
            return step
    fixed = _fixed_side(empty)
    if fixed is not None and _returns(empty, fixed, fixed):
        return fixed
    if stride is None:
        raise BundleError(
            f"{type(empty).__name__} returns no tile in the size that it came in, on torch's meta device; it "
            f"must take sides that are multiples of one of {', '.join(map(str, _POWERS))}"
        )
    raise BundleError(
        f"{type(empty).__name__} with this encoder returns no tile in the size that it came in; take "
        "an encoder of another stride, or dynamic_img_size: true for a vision transformer"
    )


def is_global(network: nn.Module | dict[str, Any]) -> bool:
    """Return whether the classes of a pixel depend on the whole tile, however large it is.

    True where it pools over the whole tile (PSPNet, DeepLab, squeeze-and-excitation in an encoder), attends
    to all of it (Segformer, DPT) or normalises with its statistics (the group norm of FPN). Such a network
    gives other classes in a tile of another size, so its card says `min` = `size` = `max`.

    Parameters
    ----------
    network
        A network, or the configuration of one.
    """
    empty = without_content(network)
    if isinstance(empty, MaskRCNN):
        return False
    tile = empty_tile(empty, 8)
    if tile.shape[-1] == _fixed_side(empty):
        return True
    small, large = _trace(empty, tile), _trace(empty, tile.repeat(1, 1, 2, 2))
    if [s.name for s in small] != [s.name for s in large]:
        return True  # passes with different operations cannot be compared
    return any(
        b.reach > a.reach or (b.read > a.read and b.written == a.written)
        for a, b in zip(small, large, strict=True)
    )


def without_content(network: nn.Module | dict[str, Any], *, trust: bool = False) -> Any:
    """Return a copy of a network that computes shapes only: on the meta device, in evaluation mode."""
    if isinstance(network, dict):
        try:
            with torch.device("meta"):
                return build(network, trust=trust).eval()
        except BundleError:
            # Some encoders compute with numbers while they are built. A wrong configuration fails again.
            with _Unfilled():
                return build(network, trust=trust).to("meta").eval()
    if next(network.parameters()).is_meta and not network.training:
        return network  # it is such a copy already
    # Tensors in the memo are not copied: the weights never exist twice.
    memo: dict[int, Any] = {id(b): b.to("meta") for b in network.buffers()}
    memo |= {id(p): nn.Parameter(p.to("meta"), requires_grad=False) for p in network.parameters()}
    return copy.deepcopy(network, memo).eval()


class _Unfilled(TorchFunctionMode):
    """Puts new tensors on the meta device, but those of computed numbers, such as `torch.linspace`."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = dict(kwargs or {})
        creates = func in (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn)
        if creates and options.get("device") is None:
            options["device"] = "meta"
        return func(*args, **options)


def empty_tile(empty: nn.Module, factor: int) -> torch.Tensor:
    """Return a square tile without content: `factor` divisors wide, or of the only size that fits."""
    step = divisor(empty)
    side = step if step == _fixed_side(empty) else factor * step
    return torch.empty(1, input_bands(empty), side, side, device="meta")


def input_bands(network: nn.Module) -> int:
    """Return the number of bands that a network takes: the inputs of its first convolution."""
    if (config := own_config(network)) is not None:
        return int(config["in_channels"])
    return next(m.in_channels for m in network.modules() if isinstance(m, nn.Conv2d))


@dataclass(frozen=True)
class _Step:
    """One operation of a forward pass."""

    name: str
    read: int
    """Numbers in the largest input."""
    written: int
    """Numbers in the smallest output that is not empty."""
    reach: int
    """Numbers that are summed for one number of the output; known only for the products of attention."""


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the operations of forward passes while it is active."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.steps: list[_Step] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        view = any(r.alias_info is not None for r in func._schema.returns)  # noqa: SLF001 (torch has no other)
        read = [x.numel() for x in tree_leaves(args) if isinstance(x, torch.Tensor)]
        written = [x.numel() for x in tree_leaves(out) if isinstance(x, torch.Tensor) and x.numel()]
        # Batch norm also returns the running statistics that it used.
        if read and written and not view and "batch_norm" not in name:
            reach = 0
            if name in ("bmm", "baddbmm"):
                reach = args[-2].shape[-1]
            elif "scaled_dot_product" in name:
                reach = args[1].shape[-2]
            self.steps.append(_Step(name, max(read), min(written), reach))
        return out


def _returns(empty: nn.Module, rows: int, cols: int) -> bool:
    """Return whether a tile of this size comes back as logits of the same size."""
    try:
        with torch.no_grad():
            logits = empty(torch.empty(1, input_bands(empty), rows, cols, device="meta"))
    except (RuntimeError, AssertionError, ValueError):
        return False
    return tuple(logits.shape[-2:]) == (rows, cols)


def _trace(empty: nn.Module, tile: torch.Tensor) -> list[_Step]:
    recorder = _Recorder()
    # Not inference_mode, in which group norm and attention are single operations without parts.
    with torch.no_grad(), recorder:
        empty(tile)
    return recorder.steps


def _fixed_side(network: nn.Module) -> int | None:
    """Return the side of the only square tile that an encoder takes; None for any size."""
    sizes: list[Any] = [getattr(m, "img_size", None) for m in network.modules()]
    rows, cols = next((s for s in sizes if isinstance(s, tuple)), (None, 0))
    return rows if rows == cols else None
