"""Encoders by name, and networks built without a look at any hub."""

import contextlib
import threading
from collections.abc import Iterator

import timm
from huggingface_hub import constants
from segmentation_models_pytorch.encoders import encoders as smp_encoders
from segmentation_models_pytorch.encoders import is_equivalent_to_timm_universal

from geoseg.core.errors import BundleError, did_you_mean, meant

_changing = threading.RLock()


def check_encoder(name: str) -> None:
    """Refuse an encoder that neither segmentation_models_pytorch nor timm lists, as they are installed.

    Names of timm begin with `tu-` and may end with a tag. They are looked up in timm's list of models, so
    that no name makes timm open a folder or ask a server, as `hf-hub:` and `local-dir:` do.

    Raises
    ------
    BundleError
        When there is no such encoder.
    """
    listed = name.replace("timm-", "tu-", 1) if is_equivalent_to_timm_universal(name) else name
    if "mobilenetv3" in listed and listed != name:
        listed = listed.replace("tu-", "tu-tf_", 1)
    model = listed.removeprefix("tu-").partition(".")[0]
    if name in smp_encoders or (listed.startswith("tu-") and timm.is_model(model)):
        return
    raise BundleError(
        f"encoder_name: {name[:80]!r} is no encoder of segmentation_models_pytorch or timm{_alike(name)}; "
        f"geoseg models encoders WORD lists names, those of timm with tu- before them"
    )


def encoders(word: str = "") -> dict[str, tuple[str, ...]]:
    """Return the encoders whose names contain a word, and the names of weights that are known for each.

    Parameters
    ----------
    word
        Part of a name, in any case; empty for all.

    Examples
    --------
    >>> list(encoders("resnet34.a"))
    []
    >>> "imagenet" in encoders("resnet34")["resnet34"]
    True
    """
    tags: dict[str, list[str]] = {}
    for full in timm.list_pretrained():
        name, _, tag = full.partition(".")
        tags.setdefault(name, []).append(tag)
    known = {name: tuple(settings["pretrained_settings"]) for name, settings in smp_encoders.items()}
    known |= {f"tu-{m}": tuple(filter(None, tags.get(m, ()))) for m in timm.list_models()}
    return {name: weights for name, weights in known.items() if word.lower() in name.lower()}


def _alike(name: str) -> str:
    """Return the encoders that were perhaps meant: names of timm without `tu-` too."""
    known = [*smp_encoders, *(f"tu-{m}" for m in timm.list_models())]
    plain = name.removeprefix("tu-").partition(".")[0].lower().replace("-", "_")
    bare = {k: k.removeprefix("tu-") for k in known}
    if exact := [k for k, b in bare.items() if b == plain]:
        return meant(exact)
    close = did_you_mean(name, known, most=3)
    if close or not plain:
        return close
    parts = [k for k, b in bare.items() if plain in b]
    return meant(sorted(parts, key=lambda k: (not bare[k].startswith(plain), len(k)))[:3])


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Let no library ask the hub of models within the block, whatever it is asked to build."""
    with _changing:
        before = constants.HF_HUB_OFFLINE
        constants.HF_HUB_OFFLINE = True
        try:
            yield
        finally:
            constants.HF_HUB_OFFLINE = before
