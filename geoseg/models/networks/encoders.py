"""Encoders by name, and networks built without a look at any hub."""

import contextlib
import threading
from collections.abc import Iterator

import timm
from huggingface_hub import constants
from segmentation_models_pytorch.encoders import encoders as smp_encoders
from segmentation_models_pytorch.encoders import is_equivalent_to_timm_universal

from geoseg.core.errors import BundleError, did_you_mean

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
    known = [*smp_encoders, *(f"tu-{m}" for m in timm.list_models())]
    hint = did_you_mean(name, known)
    raise BundleError(f"encoder_name: {name!r} is no encoder of segmentation_models_pytorch or timm{hint}")


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
