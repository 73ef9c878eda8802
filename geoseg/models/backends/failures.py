"""The errors of forward passes, worded once for all backends."""

from typing import Any

from geoseg.core.errors import BundleError, DeviceMemoryError, one_line


def out_of_memory_error(shape: tuple[int, ...], doing: str = "in a forward pass of") -> DeviceMemoryError:
    """Return the error for a batch (N, B, rows, cols) that does not fit into the memory of its device."""
    return DeviceMemoryError(
        f"out of memory {doing} {shape}; a smaller tile or batch needs less: "
        "--set tiling.tile=256 --set inference.batch=1"
    )


def unsupported_input_error(shape: tuple[int, ...], error: BaseException) -> BundleError:
    """Return the error for a batch (N, B, rows, cols) that the network fails on."""
    return BundleError(
        f"the network cannot take an input of {shape}: {one_line(error)[:200]}; check tile and "
        "divisor in its card"
    )


def wrong_output_error(shape: tuple[int, ...], output: Any, classes: int) -> BundleError:
    """Return the error for an output of another shape than the input and the classes ask for."""
    return BundleError(
        f"the network turns {shape} into {output}; {classes} channels of the same size are needed"
    )


def not_finite_error() -> BundleError:
    """Return the error for probabilities that are not finite."""
    return BundleError("the network gives NaN or infinite probabilities; its weights are unusable")
