"""Object stores (S3, Google Cloud, Azure) through obstore, the Python interface of Rust's object_store.

A PUT is atomic: an object appears whole or not at all, and is listed and read at once. An object that may be
written only once, or only over a known version, is written with a conditional PUT.
"""

import contextlib
import errno
import mimetypes
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.core.errors import GeosegError, OutputError, one_line
from geoseg.core.files import as_output_error
from geoseg.core.notices import waiting_for
from geoseg.storage import aws
from geoseg.storage.lease import ObjectVersion, lease

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Client

SCHEMES = ("s3", "gs", "az")

_DELETED_AT_ONCE = 1000
_PIECE = 8 * 1024 * 1024
_RETRIES: Any = {"max_retries": 5, "retry_timeout": aws.RETRY_TIMEOUT}
# The limit covers the transfer of the whole body.
_TRANSFERS: Any = {"timeout": "15m", "connect_timeout": "10s"}
_QUESTIONS: Any = {"timeout": "20s", "connect_timeout": "10s"}
"""Of requests with a short answer: a store that does not answer them is not there."""


@dataclass(frozen=True)
class ObjectStore:
    """The objects below a prefix of a bucket."""

    uri: str
    """Like `s3://bucket/prefix`, without a slash at the end."""

    @property
    def local(self) -> None:
        """Return None: objects have no paths."""
        return

    def at(self, name: str = "") -> str:
        """Return a URI."""
        return f"{self.uri}/{name}" if name else self.uri

    def child(self, name: str) -> "ObjectStore":
        """Return the objects below a longer prefix."""
        return ObjectStore(f"{self.uri}/{name}")

    def resolved(self) -> "ObjectStore":
        """Return itself: a URI means the same everywhere."""
        return self

    def check(self) -> None:
        """Do nothing: whether objects may be written shows when the first is."""

    def create(self) -> None:
        """Do nothing: a prefix need not be created. The bucket must exist."""

    def names(self) -> list[str]:
        """Return the names of objects, and of prefixes, directly below this one."""
        with _as_os_errors(), waiting_for(self.uri):
            found = self._client(_QUESTIONS).list_with_delimiter()
        places = [*(o["path"] for o in found["objects"]), *found["common_prefixes"]]
        return sorted(p.rstrip("/").rpartition("/")[2] for p in places)

    def read(self, name: str) -> bytes | None:
        """Read an object."""
        try:
            with _as_os_errors():
                return bytes(self._client().get(name).bytes())
        except FileNotFoundError:
            return None

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        """Read the bytes of an object from `start` to before `stop`."""
        with _as_os_errors():
            return bytes(self._client().get_range(name, start=start, end=stop))

    def fetch(self, name: str, path: Path) -> None:
        """Download an object."""
        with _as_os_errors(), path.open("wb") as file:
            for piece in self._client().get(name).stream(min_chunk_size=_PIECE):
                file.write(piece)

    def version(self, name: str) -> ObjectVersion | None:
        """Return ETag, size and time of an object without reading it, None when it does not exist."""
        try:
            with _as_os_errors():
                found = self._client(_QUESTIONS).head(name)
        except FileNotFoundError:
            return None
        return ObjectVersion(found["e_tag"] or "", found["size"], found["last_modified"])

    def write(self, name: str, data: bytes) -> None:
        """Write an object in one PUT."""
        with as_output_error(self.at(name)), _as_os_errors():
            self._client().put(name, data, attributes=_attributes(name), use_multipart=False)

    def write_if(self, name: str, data: bytes, tag: str | None) -> str | None:
        """Write an object over the version with this ETag, or a new one (None), and return its ETag.

        Returns None when another process has written the object meanwhile.
        """
        mode: Any = "create" if tag is None else {"e_tag": tag}
        try:
            with _as_os_errors():
                return self._client().put(name, data, mode=mode, use_multipart=False)["e_tag"]
        except OSError as error:
            from obstore.exceptions import AlreadyExistsError, PreconditionError  # noqa: PLC0415

            if isinstance(error.__cause__, AlreadyExistsError | PreconditionError):
                return None
            raise

    def adopt(self, path: Path) -> None:
        """Upload a file, a large one in parts that appear together, and delete it here."""
        with as_output_error(self.at(path.name)):
            with _as_os_errors():
                self._client().put(path.name, path, attributes=_attributes(path.name))
            path.unlink()

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects."""
        listed = list(names)
        if listed:
            with as_output_error(self.uri), _as_os_errors():
                self._client().delete(listed)

    def clear(self, last: str) -> None:
        """Delete all objects below this prefix, a thousand with each request."""
        with contextlib.suppress(OSError, OutputError):
            with _as_os_errors():
                client = self._client()
                for batch in client.list(chunk_size=_DELETED_AT_ONCE):
                    client.delete([o["path"] for o in batch if o["path"] != last])
            self.delete([last])

    def tidy(self) -> None:
        """Do nothing: objects are deleted where they are."""

    def lock(self) -> AbstractContextManager[Callable[[], None]]:
        """Lock the prefix with an object that is renewed, see `geoseg.storage.lease`."""
        return lease(self)

    def _client(self, requests: Any = _TRANSFERS) -> "Client":
        return _client(self.uri, *requests.items())


@lru_cache(maxsize=128)
def _client(uri: str, *requests: tuple[str, str]) -> "Client":
    """Return this process's client, with the credentials of this machine."""
    try:
        from obstore.store import S3Store, from_url  # noqa: PLC0415
    except ImportError as error:
        raise aws.missing_library_error(error) from error
    scheme, _, rest = uri.partition("://")
    options: Any = dict(requests)
    if scheme != "s3":
        other: Client = from_url(uri, client_options=options, retry_config=_RETRIES)
        return other
    access = aws.access()
    bucket, _, prefix = rest.partition("/")
    options["allow_http"] = access.plain_http
    return S3Store(
        bucket, prefix=prefix or None, endpoint=access.endpoint, region=access.region,
        credential_provider=access.credentials(), skip_signature=access.anonymous,
        client_options=options, retry_config=_RETRIES,
    )  # fmt: skip


def _attributes(name: str) -> dict[str, str]:
    """Return the content type; with it, browsers show reports instead of saving them."""
    kind = {".tif": "image/tiff", ".gpkg": "application/geopackage+sqlite3"}.get(Path(name).suffix)
    kind = kind or mimetypes.guess_type(name)[0]
    return {"Content-Type": kind or "application/octet-stream"}


@contextlib.contextmanager
def _as_os_errors() -> Iterator[None]:
    """Turn errors of an object store into OSErrors, with words instead of XML."""
    try:
        yield
    except GeosegError:
        raise
    except Exception as error:
        # Some errors of obstore are OSErrors, but without a number.
        if getattr(error, "errno", None) is not None:
            raise
        number, words = _in_words(error)
        raise OSError(number, words) from error


def _in_words(error: Exception) -> tuple[int, str]:
    from obstore import exceptions  # noqa: PLC0415

    message = one_line(error)
    if not isinstance(error, exceptions.BaseError | FileNotFoundError):
        raise error
    if "NoSuchBucket" in message:
        return errno.ENODEV, "there is no such bucket"
    if isinstance(error, FileNotFoundError):
        return errno.ENOENT, "no such object"
    if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
        return errno.EACCES, f"access denied by the object store ({aws.code_in(message)}); {aws.CHECK}"
    if "Connect" in message or "error sending request" in message:
        return (
            errno.EHOSTUNREACH,
            "the object store cannot be reached; check the network and AWS_ENDPOINT_URL",
        )
    return errno.EIO, f"the object store answers: {aws.code_in(message)}"
