"""The arguments of each architecture that geoseg knows: all that a bundle or a training may say of a network.

A constructor of segmentation_models_pytorch hands what it does not know on to timm, which opens files and
asks servers for some of it. So the arguments are listed here, with types and bounds; others are refused.
torch is not imported: a bundle is checked when it is opened, before anything is built.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from geoseg.config.wording import first_of
from geoseg.core.errors import BundleError, did_you_mean
from geoseg.models.networks.own_code import is_own_code

_Width = Annotated[int, Field(ge=1, le=8192)]
_Widths = Annotated[Sequence[_Width], Field(min_length=1, max_length=5)]
_Share = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
_Length = Annotated[float, Field(gt=0, le=8192, allow_inf_nan=False)]
_Side = Annotated[int, Field(ge=16, le=2048)]
_Factor = Annotated[int, Field(ge=1, le=64)]
_Interpolation = Literal["nearest", "nearest-exact", "bilinear", "bicubic", "area"]
_NormName = Literal["batchnorm", "identity", "layernorm", "instancenorm", "inplace"]


class _Closed(BaseModel):
    """Values as JSON has them: no text is a number, no number a truth value, and no key is unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class NormOptions(_Closed):
    """A norm of the decoder with its options."""

    type: _NormName
    eps: Annotated[float, Field(gt=0, le=1)] = 1e-5
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.1
    affine: bool = True
    track_running_stats: bool = True


_Norm = bool | _NormName | NormOptions


class OwnArguments(_Closed):
    """Arguments of all networks, which are all that FCN and SegNet have."""

    # Any name: it is never used, because weights are loaded into the network that was built.
    encoder_weights: Annotated[str, Field(max_length=200)] | bool | None = None
    in_channels: Annotated[int, Field(ge=1, le=1024)] = 3
    classes: Annotated[int, Field(ge=1, le=255)] = 1


class OwnCodeArguments(OwnArguments):
    """Arguments of a class of the user's own, which alone knows the others."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)


class FCNArguments(OwnArguments):
    """Arguments of `FCN`."""

    encoder_name: Literal["resnet50", "resnet101"] = "resnet50"


class SegNetArguments(OwnArguments):
    """Arguments of `SegNet`."""

    encoder_name: Literal["vgg11", "vgg13", "vgg16"] = "vgg16"
    encoder_depth: Annotated[int, Field(ge=1, le=5)] = 5


class TorchvisionArguments(OwnArguments):
    """Arguments of `Torchvision`."""

    encoder_name: Literal[
        "fcn_resnet50", "fcn_resnet101", "deeplabv3_resnet50", "deeplabv3_resnet101",
        "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large",
    ] = "fcn_resnet50"  # fmt: skip
    in_channels: Literal[3] = 3


class MaskRCNNArguments(OwnArguments):
    """Arguments of `MaskRCNN`."""

    encoder_name: Literal[
        "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d",
        "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2",
    ] = "resnet50"  # fmt: skip
    heads: Literal["v1", "v2"] = "v1"
    decoder_channels: _Width = 256
    box_features: _Width = 1024
    norm: Literal["batchnorm", "frozen"] = "batchnorm"
    norm_eps: Annotated[float, Field(ge=0, le=1)] = 1e-5
    anchor_sizes: Annotated[Sequence[_Length], Field(min_length=5, max_length=5)] = (32, 64, 128, 256, 512)
    anchor_ratios: Annotated[Sequence[_Length], Field(min_length=1, max_length=9)] = (0.5, 1, 2)
    detections: Annotated[int, Field(ge=1, le=65_535)] = 100
    proposals: Annotated[int, Field(ge=1, le=65_535)] = 1000
    box_nms: Annotated[float, Field(gt=0, le=1)] = 0.5


class SmpArguments(OwnArguments):
    """Arguments of all networks of segmentation_models_pytorch."""

    encoder_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)?$", max_length=120)] = "-"
    encoder_depth: Annotated[int, Field(ge=1, le=5)] = 5
    activation: None = None
    """A run takes the softmax itself, of logits."""
    aux_params: None = None
    """A second output has no use here."""
    # Arguments of timm's encoders.
    img_size: _Side | Annotated[Sequence[_Side], Field(min_length=2, max_length=2)] | None = None
    dynamic_img_size: bool = False
    num_classes: Annotated[int, Field(ge=0, le=1000)] = 0
    drop_rate: _Share = 0.0
    drop_path_rate: _Share = 0.0


class _Normed(SmpArguments):
    decoder_use_norm: _Norm = "batchnorm"
    decoder_use_batchnorm: bool | Literal["inplace"] = True
    """The name of `decoder_use_norm` in older versions."""


class UnetArguments(_Normed):
    """Arguments of `Unet` and `UnetPlusPlus`."""

    decoder_channels: _Widths = (256, 128, 64, 32, 16)
    decoder_attention_type: Literal["scse"] | None = None
    decoder_interpolation: _Interpolation = "nearest"


class MAnetArguments(_Normed):
    """Arguments of `MAnet`."""

    decoder_channels: _Widths = (256, 128, 64, 32, 16)
    decoder_pab_channels: _Width = 64
    decoder_interpolation: _Interpolation = "nearest"


class LinknetArguments(_Normed):
    """Arguments of `Linknet`."""


class FPNArguments(SmpArguments):
    """Arguments of `FPN`."""

    decoder_pyramid_channels: _Width = 256
    decoder_segmentation_channels: _Width = 128
    decoder_merge_policy: Literal["add", "cat"] = "add"
    decoder_dropout: _Share = 0.2
    decoder_interpolation: _Interpolation = "nearest"
    upsampling: _Factor = 4


class PSPNetArguments(_Normed):
    """Arguments of `PSPNet`."""

    psp_out_channels: _Width = 512
    psp_dropout: _Share = 0.2
    upsampling: _Factor = 8


class PANArguments(SmpArguments):
    """Arguments of `PAN`."""

    encoder_output_stride: Literal[16, 32] = 16
    decoder_channels: _Width = 32
    decoder_interpolation: _Interpolation = "bilinear"
    upsampling: _Factor = 4


class DeepLabArguments(SmpArguments):
    """Arguments of `DeepLabV3` and `DeepLabV3Plus`."""

    encoder_output_stride: Literal[8, 16] = 8
    decoder_channels: _Width = 256
    decoder_atrous_rates: Annotated[Sequence[Annotated[int, Field(ge=1, le=256)]], Field(max_length=3)] = ()
    decoder_aspp_separable: bool = False
    decoder_aspp_dropout: _Share = 0.5
    upsampling: _Factor | None = None


class UPerNetArguments(_Normed):
    """Arguments of `UPerNet`."""

    decoder_channels: _Width = 256
    upsampling: _Factor = 4


class SegformerArguments(SmpArguments):
    """Arguments of `Segformer`."""

    decoder_segmentation_channels: _Width = 256
    upsampling: _Factor = 4


class DPTArguments(SmpArguments):
    """Arguments of `DPT`."""

    encoder_output_indices: (
        Annotated[Sequence[Annotated[int, Field(ge=0, le=127)]], Field(min_length=1, max_length=5)] | None
    ) = None
    decoder_readout: Literal["ignore", "add", "cat"] = "cat"
    decoder_intermediate_channels: _Widths = (256, 512, 1024, 1024)
    decoder_fusion_channels: _Width = 256


ARGUMENTS: dict[str, type[OwnArguments]] = {
    "Unet": UnetArguments,
    "UnetPlusPlus": UnetArguments,
    "MAnet": MAnetArguments,
    "Linknet": LinknetArguments,
    "FPN": FPNArguments,
    "PSPNet": PSPNetArguments,
    "PAN": PANArguments,
    "DeepLabV3": DeepLabArguments,
    "DeepLabV3Plus": DeepLabArguments,
    "UPerNet": UPerNetArguments,
    "Segformer": SegformerArguments,
    "DPT": DPTArguments,
    "FCN": FCNArguments,
    "SegNet": SegNetArguments,
}
"""Arguments of each architecture. A default tells that a key may be missing: constructors have their own."""

DETECTOR_ARGUMENTS: dict[str, type[OwnArguments]] = {"MaskRCNN": MaskRCNNArguments}
"""Arguments of networks that find objects."""

FOREIGN_ARGUMENTS: dict[str, type[OwnArguments]] = {"Torchvision": TorchvisionArguments}
"""Arguments of networks that are imported only."""


def _all_arguments() -> dict[str, type[OwnArguments]]:
    return {**ARGUMENTS, **DETECTOR_ARGUMENTS, **FOREIGN_ARGUMENTS}


def check_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments for the constructor of the architecture that a configuration names.

    Parameters
    ----------
    config
        `_model_class` and the arguments, as smp's `save_pretrained` writes them.

    Returns
    -------
    arguments
        Those of the configuration as they are, but `encoder_weights`, which is never used.

    Raises
    ------
    BundleError
        When the architecture, or a key at any depth, is unknown, or a value is out of its bounds.
    """
    name = str(config.get("_model_class"))
    models, trained = _all_arguments(), {**ARGUMENTS, **DETECTOR_ARGUMENTS}
    if is_own_code(name):
        models[name] = OwnCodeArguments
    if name not in models:
        raise BundleError(
            f"architecture {name[:60]!r} is not known{did_you_mean(name[:60], trained)}; known: "
            f"{', '.join(trained)}"
        )
    arguments = {k: v for k, v in config.items() if k != "_model_class"}
    try:
        models[name].model_validate(arguments)
    except ValidationError as error:
        raise BundleError(
            f"architecture {name} cannot be built: {_first_problem(name, arguments, error)}"
        ) from None
    return {k: v for k, v in arguments.items() if k != "encoder_weights"}


def _first_problem(name: str, arguments: Mapping[str, Any], error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    # Where each member of a union has its own complaint, an unknown key inside says most.
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    keys = [str(k) for k in problem["loc"]]
    shown = f"{keys[0]}" if len(keys) == 1 else f"{keys[0]} ({'.'.join(keys[1:])})"
    key = ascii(shown[:80])[1:-1]
    if problem["type"] == "extra_forbidden":
        known = _all_arguments()[name].model_fields if len(keys) == 1 else ()
        hint = did_you_mean(keys[0][:80], known)
        return f"{key}: is no argument that geoseg accepts{hint}; see docs/architectures.md"
    _, text = first_of(error, arguments)
    return f"{key}: {ascii(text[:160])[1:-1]}"
