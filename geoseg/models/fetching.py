"""Fetch bundles from an object store, once on each machine."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from geoseg.core.cache import cache_folder
from geoseg.core.errors import BundleError, OutputError
from geoseg.core.files import as_output_error, sha256
from geoseg.core.locks import wait_for_lock
from geoseg.core.parsing import parse_json
from geoseg.storage.store import Store, open_store


def fetch_bundle(uri: str, small: tuple[str, str], weights_of: Callable[[bytes], str]) -> Path:
    """Return a folder in the cache folder with the bundle as it is at the URI now.

    The folder is named after the hash of the bundle, so another version never replaces it. Of several
    processes at the same time one fetches the bundle, and the others wait. A damaged folder is fetched again.

    Parameters
    ----------
    uri
        The bundle, like `s3://bucket/bundles/name`.
    small
        Names of its card, which states the checksum of the weights, and of its configuration.
    weights_of
        Tells the name of its weights from its configuration.

    Raises
    ------
    BundleError
        When the bundle is missing or cannot be read, or its weights do not match the card.
    """
    store = open_store(uri)
    try:
        texts = {name: _read(store, name) for name in small}
        weights = weights_of(texts[small[1]])
        digest = _weights_sha256(store.at(small[0]), texts[small[0]])
        key = hashlib.sha256(b"".join([*texts.values(), digest.encode()])).hexdigest()
        folder = cache_folder() / "bundles" / key
        with wait_for_lock(folder.with_name(f".{key}.lock")):
            if not _is_complete(folder, texts, weights, digest):
                _fetch(store, folder, texts, weights, digest)
    except OutputError as error:
        raise BundleError(str(error)) from error
    return folder


def _read(store: Store, name: str) -> bytes:
    with as_output_error(store.at(name), "read"):
        data = store.read(name)
    if data is None:
        raise BundleError.absent(f"{store.at()}: is no bundle: there is no {name}")
    return data


def _weights_sha256(place: str, card: bytes) -> str:
    try:
        return str(parse_json(card)["weights_sha256"])
    except (ValueError, KeyError, TypeError):
        raise BundleError(f"{place}: does not say the checksum of the weights (weights_sha256)") from None


def _is_complete(folder: Path, texts: dict[str, bytes], weights: str, digest: str) -> bool:
    try:
        same = all((folder / name).read_bytes() == text for name, text in texts.items())
        return same and sha256(folder / weights) == digest
    except OSError:
        return False


def _fetch(store: Store, folder: Path, texts: dict[str, bytes], weights: str, digest: str) -> None:
    partial = folder.with_name(f".{folder.name}.begun")
    with as_output_error(partial):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        for name, text in texts.items():
            (partial / name).write_bytes(text)
    with as_output_error(store.at(weights), "read"):
        store.fetch(weights, partial / weights)
    if (found := sha256(partial / weights)) != digest:
        shutil.rmtree(partial, ignore_errors=True)
        raise BundleError(
            f"{store.at(weights)}: is truncated or altered (sha256 {found[:12]}..., the card says "
            f"{digest[:12]}...); upload the bundle again"
        )
    with as_output_error(folder):
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
