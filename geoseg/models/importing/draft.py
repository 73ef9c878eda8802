"""The draft of a card: what a source, a file and the command line say of a network, put together.

Nothing is guessed: what nobody says is listed at once, and a file to fill in is written.
"""

import colorsys
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from geoseg.config.wording import first_of
from geoseg.config.yaml_text import parse_yaml
from geoseg.core.bands import common_name, usual_band
from geoseg.core.errors import ConfigError, did_you_mean
from geoseg.core.files import write_atomic
from geoseg.core.parsing import read_bytes
from geoseg.models.card import Card
from geoseg.models.importing.sizes import Sizes

Facts = dict[str, Any]
"""Keys of a draft and their values."""

_MOST_BYTES = 4_000_000

KEYS: dict[str, str] = {
    "name": "name of the bundle",
    "version": "its version",
    "title": "one line for people",
    "description": "what it is for",
    "license": "its licence",
    "limitations": "a list of what it is not good for",
    "bands": "its input bands in order, as common names: [blue, green, red, nir]",
    "mean": "mean of each band that it was trained with, of the numbers times input_scale",
    "std": "standard deviation of each band, likewise",
    "covariance": "covariance of the bands, likewise",
    "numbers": "physical (reflectance: number * scale + offset of the scene) or raw (numbers as stored)",
    "input_scale": "factor from these numbers to those it was trained with, such as 255 for 0..255",
    "preprocess": "steps instead of (x - mean) / std; [] where the network does it itself",
    "classes": "its classes in the order of its channels: names, or {id, slug, title, color}",
    "task": "classes, or instances of a network that finds objects",
    "detection": "of objects: {score_threshold: 0.5, per_tile: 100}",
    "object_px": "of objects: median and 99th percentile of their longer sides in pixels: 30,120",
    "channels": "channel of each class, where the network has more channels",
    "output": "logits, probabilities, or sigmoid for one channel of logits",
    "temperature": "what logits are divided by",
    "calibration": "factor and shift of the logits of each class instead: {scale: [...], shift: [...]}",
    "gsd": "ground sample distances that it was trained for, in metres: 10 or 10-30; none: photographs",
    "level": "toa or surface",
    "tile": "side of the tiles in pixels: that of the training, where its answer depends on the whole tile",
    "overlap": "pixels that neighbouring tiles share",
    "resize": "rows and columns to which whole pictures are resized for the network: [256, 320]",
    "network": "architecture and arguments: {_model_class: Unet, encoder_name: resnet34}",
}
"""Keys of a draft, and what they say."""

_LISTS = ("bands", "mean", "std", "classes", "channels", "limitations", "object_px", "resize")
_WANTED = ("bands", "mean", "std", "numbers", "classes", "output", "gsd")


@dataclass(frozen=True)
class Draft:
    """What is said of a network: by its source, and by the user, whose word counts where both speak."""

    source: Facts
    user: Facts

    def __getitem__(self, key: str) -> Any:
        return self.user.get(key, self.source.get(key))

    def missing(self, sizes: Sizes | None = None) -> list[str]:
        """Return the keys that nobody says, though a bundle needs them."""
        wanted = [*_WANTED, *(["tile"] if sizes is not None and sizes.needs_tile else [])]
        wanted += ["object_px"] if self["task"] == "instances" else []
        bands = self["bands"] or ()
        inside = {k for k in ("mean", "std") if bands and all(isinstance(b, dict) and k in b for b in bands)}
        return [k for k in wanted if self[k] is None and k not in inside]

    def contradictions(self) -> list[str]:
        """Return the keys of which source and user say different things."""
        return [k for k in self.user if k in self.source and _plain(self.user[k]) != _plain(self.source[k])]


def _plain(value: Any) -> Any:
    if isinstance(value, int | float):
        return float(f"{float(value):.6g}")
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def read_facts(path: Path) -> Facts:
    """Read a draft from a YAML or JSON file.

    Raises
    ------
    ConfigError
        When it cannot be read, or has a key that no draft has.
    """
    try:
        _, data = parse_yaml(read_bytes(path, _MOST_BYTES).decode())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path}: a mapping of keys to values is expected, such as bands: [red, green, blue]"
        )
    return checked({k: v for k, v in data.items() if v is not None}, str(path))


def read_settings(texts: Sequence[str]) -> Facts:
    """Read `key=value` texts; lists are written with commas, and `network.KEY` is an argument of the network.

    Raises
    ------
    ConfigError
        When a text is no such setting.

    Examples
    --------
    >>> read_settings(["bands=red,nir", "mean=0.1,0.2", "gsd=10-30"])
    {'bands': ['red', 'nir'], 'mean': [0.1, 0.2], 'gsd': '10-30'}
    """
    facts: Facts = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text[:60]}: write key=value, such as gsd=10-30")
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"--set {key}: {value[:60]!r} is not valid YAML") from None
        if key in _LISTS and isinstance(parsed, str):
            parsed = [yaml.safe_load(part.strip()) for part in parsed.split(",")]
        elif key in _LISTS and not isinstance(parsed, list | dict):
            parsed = [parsed]
        if key.startswith("network."):
            facts.setdefault("network", {})[key.removeprefix("network.")] = parsed
        else:
            facts[key] = parsed
    return checked(facts, "--set")


def checked(facts: Facts, place: str) -> Facts:
    """Return facts whose keys are known.

    Raises
    ------
    ConfigError
        When one is not.
    """
    for key in facts:
        if key not in KEYS:
            hint = did_you_mean(str(key)[:60], KEYS)
            raise ConfigError(
                f"{place}: {str(key)[:60]}: is no key of a card{hint}; known: {', '.join(KEYS)}"
            )
    return facts


def write_form(draft: Draft, missing: Sequence[str], path: Path) -> None:
    """Write a file with what is known, and the missing keys to fill in."""
    lines = ["# Fill in what has no value, then: geoseg models import SOURCE --output DIR --card THIS_FILE"]
    for key, meaning in KEYS.items():
        value = draft[key]
        if key in missing:
            lines += [f"# {meaning}", f"{key}:"]
        elif value is not None:
            # JSON is YAML, on one line.
            lines += [f"# {meaning}", f"{key}: {json.dumps(value, ensure_ascii=False)}"]
    write_atomic(path, ("\n".join(lines) + "\n").encode())


def make_card(draft: Draft, name: str, sizes: Sizes, *, of_source: bool = False) -> Card:
    """Return the card that a draft describes; its checksum is to be filled in.

    Parameters
    ----------
    draft
        A draft without missing keys.
    name
        Name where the draft has none.
    sizes
        The tiles that the network takes.
    of_source
        Whether the source's word counts where it and the user differ.

    Raises
    ------
    ConfigError
        When a value cannot be.
    """
    said = {**draft.user, **draft.source} if of_source else {**draft.source, **draft.user}
    scale = said.get("input_scale", 1.0)
    own = str(said.get("name", name))
    try:
        bands = _bands(said["bands"], said.get("mean"), said.get("std"), scale)
        covariance = said.get("covariance")
        rows = covariance and [[float(v) / scale**2 for v in row] for row in covariance]
        kept = {k: said[k] for k in _PASSED if k in said}
        return Card.model_validate(
            {
                "name": own,
                "version": str(said.get("version", "1")),
                "title": str(said.get("title", own)),
                "bands": bands,
                "covariance": rows,
                "gsd_m": _gsd(said["gsd"]),
                "tile": sizes.tile(said.get("tile"), said.get("overlap")),
                "classes": _classes(said["classes"]),
                "input_scale": scale,
                "weights_sha256": "0" * 64,
                **kept,
                **_detection(said),
            }
        )
    except ValidationError as error:
        key, text = first_of(error)
        raise ConfigError(f"{key[:80] or 'card'}: {text[:200]}") from None
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ConfigError(f"the card cannot be made: {' '.join(str(error).split())[:200]}") from error


_PASSED = (
    "description", "license", "limitations", "numbers", "preprocess", "channels", "output", "temperature",
    "calibration", "level", "resize",
)  # fmt: skip


def _detection(said: Facts) -> Facts:
    """Return how objects are found; nothing for a network of classes."""
    if said.get("task") != "instances":
        return {}
    median, p99 = (float(v) for v in said["object_px"])
    return {
        "task": "instances",
        "detection": {**said["detection"], "object_px": {"median": median, "p99": p99}},
    }


def _bands(bands: Any, mean: Any, std: Any, scale: float) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [dict(b) if isinstance(b, Mapping) else {"name": str(b)} for b in bands]
    for key, values in (("mean", mean), ("std", std)):
        if values is None:
            continue
        if len(values) != len(rows):
            raise ValueError(f"{key} has {len(values)} values, and bands has {len(rows)}")
        for row, value in zip(rows, values, strict=True):
            row.setdefault(key, value)
    for row in rows:
        row.setdefault("common_name", common_name(str(row["name"])))
        usual = usual_band(row["common_name"])
        if usual is not None:
            row.setdefault("wavelength_um", usual.wavelength_um)
        row.update({key: float(row[key]) / scale for key in ("mean", "std")})
    return rows


def _gsd(value: Any) -> dict[str, Any] | None:
    if value == "none":
        return None
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, str):
        low, _, high = value.partition("-")
        return {"min": float(low), "max": float(high or low)}
    return {"min": value, "max": value}


def _classes(classes: Any) -> list[dict[str, Any]]:
    """Return the classes of a card: from names, from a mapping of ids to names, or from whole entries."""
    pairs = list(classes.items()) if isinstance(classes, Mapping) else list(enumerate(classes))
    rows = []
    for number, (key, entry) in enumerate(pairs):
        given = dict(entry) if isinstance(entry, Mapping) else {"title": str(entry)}
        title = str(given.get("title", given.get("slug", key)))
        slug = re.sub(r"[^\w]+", "-", title.lower()).strip("-_") or f"class-{key}"
        rows.append({"id": int(key), "slug": slug, "title": title, "color": _color(number), **given})
    return rows


def _color(number: int) -> str:
    """Return a colour for a class that has none: hues a golden section apart are never alike."""
    red, green, blue = colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.55, 0.85)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
