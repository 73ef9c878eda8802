"""Quality bands of products: which of their values and bits mean that a pixel is not to be classified."""

from geoseg.config.scene import MaskEntry

SCENE_CLASSES = (0, 1, 3, 8, 9, 10)
"""Sentinel-2's SCL: nodata, saturated or defective, cloud shadow, cloud of medium and high probability,
cirrus. Dark areas (2), unclassified pixels (7) and snow (11) stay."""

PIXEL_BITS = (0, 1, 2, 3, 4)
"""Landsat's QA_PIXEL: fill, dilated cloud, cirrus, cloud, cloud shadow. Snow (5) and water (7) stay."""

FMASK_BITS = (0, 1, 2, 3)
"""HLS' Fmask: cirrus, cloud, next to cloud, cloud shadow. Snow (4), water (5) and aerosol (6, 7) stay."""

FMASK_NODATA = 255


def scene_classification(uri: str) -> MaskEntry:
    """Return the mask of Sentinel-2's scene classification."""
    return MaskEntry(uri=uri, invalid_values=SCENE_CLASSES)


def pixel_quality(uri: str) -> MaskEntry:
    """Return the mask of Landsat's QA_PIXEL."""
    return MaskEntry(uri=uri, invalid_bits=PIXEL_BITS)


def fmask(uri: str) -> MaskEntry:
    """Return the mask of HLS' Fmask."""
    return MaskEntry(uri=uri, invalid_bits=FMASK_BITS, invalid_values=(FMASK_NODATA,))


def usable_data(uri: str, band: int = 1) -> MaskEntry:
    """Return the mask of PlanetScope's UDM2, whose first band is 1 where the ground is clear."""
    return MaskEntry(uri=uri, band=band, invalid_values=(0, 255))
