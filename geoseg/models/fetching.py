"""Bundles that lie in an object store: fetched once for each machine."""

import hashlib
import json
import shutil
from pathlib import Path

from geoseg.core.cache import cache_folder
from geoseg.core.errors import BundleError, OutputError
from geoseg.core.files import as_output_error, sha256
from geoseg.storage.cache import one_at_a_time
from geoseg.storage.store import Store, open_store


def fetched(uri: str, small: tuple[str, str], weights: str) -> Path:
    """Return a folder of the cache that holds the bundle as it is at the URI now.

    The folder is named after the hash of the bundle, so another version never takes its place. Of processes
    that come at the same time one fetches, and the others wait. A folder that was damaged is fetched again.

    Parameters
    ----------
    uri
        The bundle, like `s3://bucket/bundles/name`.
    small
        Names of its card, which says the checksum of the weights, and its configuration.
    weights
        Name of its weights.

    Raises
    ------
    BundleError
        When the bundle is missing, cannot be read, or its weights do not match the card.
    """
    store = open_store(uri)
    try:
        texts = {name: _read(store, name) for name in small}
        digest = _said(store.at(small[0]), texts[small[0]])
        key = hashlib.sha256(b"".join([*texts.values(), digest.encode()])).hexdigest()
        folder = cache_folder() / "bundles" / key
        with one_at_a_time(folder.with_name(f".{key}.lock")):
            if not _holds(folder, texts, weights, digest):
                _fetch(store, folder, texts, weights, digest)
    except OutputError as error:
        raise BundleError(str(error)) from error
    return folder


def _read(store: Store, name: str) -> bytes:
    with as_output_error(store.at(name), "read"):
        data = store.read(name)
    if data is None:
        raise BundleError(f"{store.at()}: is no bundle: there is no {name}")
    return data


def _said(place: str, card: bytes) -> str:
    try:
        return str(json.loads(card)["weights_sha256"])
    except (ValueError, KeyError, TypeError):
        raise BundleError(f"{place}: does not say the checksum of the weights (weights_sha256)") from None


def _holds(folder: Path, texts: dict[str, bytes], weights: str, digest: str) -> bool:
    try:
        same = all((folder / name).read_bytes() == text for name, text in texts.items())
        return same and sha256(folder / weights) == digest
    except OSError:
        return False


def _fetch(store: Store, folder: Path, texts: dict[str, bytes], weights: str, digest: str) -> None:
    begun = folder.with_name(f".{folder.name}.begun")
    with as_output_error(begun):
        shutil.rmtree(begun, ignore_errors=True)
        begun.mkdir()
        for name, text in texts.items():
            (begun / name).write_bytes(text)
    with as_output_error(store.at(weights), "read"):
        store.fetch(weights, begun / weights)
    if (found := sha256(begun / weights)) != digest:
        shutil.rmtree(begun, ignore_errors=True)
        raise BundleError(
            f"{store.at(weights)}: is truncated or altered (sha256 {found[:12]}..., the card says "
            f"{digest[:12]}...); upload the bundle again"
        )
    with as_output_error(folder):
        shutil.rmtree(folder, ignore_errors=True)
        begun.rename(folder)
