"""What the adapters share. They run in a peer's own environment: nothing of geoseg is imported.

Each adapter is a script: `python run_PEER.py SCENE OUTPUT --bundle FOLDER --note FILE --work FOLDER [...]`.
It reads a scene of uint16 numbers and writes a GeoTIFF of class ids, as a user of the peer would. Glue that
is ours is written to be fast and small (in place, by strips), so that the peer is measured and not the glue.
"""

import argparse
import importlib.metadata
import json
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
import segmentation_models_pytorch as smp
import torch

NODATA = 255
SCENE_NODATA = 0


class Task:
    """The arguments, the network and what is known of its input and its classes."""

    def __init__(self) -> None:
        parser = argparse.ArgumentParser()
        parser.add_argument("scene", type=Path)
        parser.add_argument("output", type=Path)
        parser.add_argument("--bundle", type=Path, required=True)
        parser.add_argument("--note", type=Path, required=True)
        parser.add_argument("--work", type=Path, required=True, help="folder for what is made once")
        parser.add_argument("--tile", type=int, default=512)
        parser.add_argument("--overlap", type=int, default=128)
        parser.add_argument("--batch", type=int, default=4)
        parser.add_argument("--free", action="store_true", help="a network that costs nothing")
        parser.add_argument("--cog", action="store_true", help="make a COG of the map at the end")
        parser.add_argument("--channels-last", action="store_true")
        self.options = parser.parse_args()
        for key in ("scene", "output", "tile", "overlap", "batch"):
            setattr(self, key, getattr(self.options, key))
        card = json.loads((self.options.bundle / "geoseg.json").read_text())
        self.ids = np.array([c["id"] for c in card["classes"]], np.uint8)
        mean, std, scale = (
            np.array([b[key] for b in card["bands"]], np.float32)[:, None, None]
            for key in ("mean", "std", "scale")
        )
        self.factor, self.shift = scale / std, -mean / std
        self.weights = card["weights_sha256"][:12]
        self.network_pixels = 0

    def network(self) -> torch.nn.Module:
        """Return the network: normalised bands (N, B, h, w) to logits (N, C, h, w)."""
        free = self.options.free
        network = torch.nn.Identity() if free else smp.from_pretrained(str(self.options.bundle)).eval()
        if self.options.channels_last:
            network = network.to(memory_format=torch.channels_last)
        network.register_forward_pre_hook(lambda _, inputs: self.count(inputs[0]))
        return network

    def count(self, x: torch.Tensor) -> None:
        """Count the pixels that go through the network."""
        self.network_pixels += x.shape[0] * x.shape[-2] * x.shape[-1]

    def normalised(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return network input (B, h, w) and which pixels are valid; the others enter as the band mean."""
        valid = (numbers != SCENE_NODATA).all(axis=0)
        x = numbers.astype(np.float32)
        x *= self.factor
        x += self.shift
        if not valid.all():
            x[:, ~valid] = 0
        return x, valid

    def classes(self, logits: torch.Tensor, valid: np.ndarray | None = None) -> np.ndarray:
        """Return class ids (h, w) of logits (C, h, w)."""
        ids = np.empty(logits.shape[1:], np.uint8)
        for i in range(0, len(ids), 512):  # indices are int64: not of the whole scene at once
            # torch.argmax is several times slower along this axis.
            ids[i : i + 512] = self.ids[logits[:, i : i + 512].max(dim=0).indices.numpy()]
        if valid is not None and not valid.all():
            ids[~valid] = NODATA
        return ids

    def profile(self, source: rasterio.DatasetReader) -> dict:
        """Return how the map is written."""
        return {
            "driver": "GTiff", "count": 1, "dtype": "uint8", "nodata": NODATA, "crs": source.crs,
            "transform": source.transform, "height": source.height, "width": source.width,
            "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate",
        }  # fmt: skip

    def finish(self, package: str, setting: str, rows: list[int], cols: list[int], tile: int) -> None:
        """Make a COG where it was asked for, and write the note: what ran, and where tiles meet.

        Parameters
        ----------
        package
            The peer's package, for its version.
        setting
            What it was told, for people.
        rows, cols
            First row of each row of tiles, first column of each column.
        tile
            Their size.
        """
        if self.options.cog:
            plain = self.output.with_suffix(".plain.tif")
            self.output.replace(plain)
            rasterio.shutil.copy(
                str(plain), str(self.output), driver="COG", compress="DEFLATE", blocksize=512,
                overview_resampling="MODE", overview_compress="DEFLATE",
            )  # fmt: skip
            plain.unlink()
        note = {
            "package": package,
            "version": importlib.metadata.version(package),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "setting": setting,
            "network_pixels": self.network_pixels,
            "rows": rows,
            "cols": cols,
            "tile": tile,
        }
        self.options.note.write_text(json.dumps(note))


def shifted_starts(length: int, tile: int, stride: int) -> list[int]:
    """Return where tiles start when the last one is shifted back to end at the scene's border."""
    last = max(0, length - tile)
    return sorted({min(i, last) for i in range(0, last + stride, stride)})
