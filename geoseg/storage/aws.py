"""Access to S3 from the environment and profiles, the same for the object-store library and for GDAL.

boto3 finds the credentials (AWS_ACCESS_KEY_ID..., AWS_PROFILE, ~/.aws, roles, SSO), the region and the
endpoint. obstore gets them here; rasterio asks boto3 itself.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from geoseg.core.errors import ConfigError, one_line

RETRY_TIMEOUT = timedelta(seconds=60)
"""How long a request is retried while the store does not answer."""

CHECK = "check AWS_PROFILE or AWS_ACCESS_KEY_ID and what they may do"


@dataclass(frozen=True)
class S3Access:
    """Endpoint and region of S3, and whether requests are signed; no credentials."""

    endpoint: str | None
    """URL of a store other than Amazon's; None for Amazon's."""
    region: str
    anonymous: bool
    """Requests are not signed (AWS_NO_SIGN_REQUEST), as public buckets allow."""

    @property
    def plain_http(self) -> bool:
        """Whether the endpoint has no TLS."""
        return self.endpoint is not None and self.endpoint.startswith("http://")

    def credentials(self) -> Callable[[], Any] | None:
        """Return the provider that obstore asks for credentials whenever they expire; None if anonymous."""
        if self.anonymous:
            return None
        from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415

        try:
            return Boto3CredentialProvider(_session())
        except ValueError:
            raise ConfigError(
                "S3: no credentials were found; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or for public data AWS_NO_SIGN_REQUEST=YES"
            ) from None

    def gdal_options(self) -> dict[str, str]:
        """Return the same as options of GDAL, without those that the environment sets."""
        if self.endpoint is None:
            return {}
        parts = urlsplit(self.endpoint)
        options = {
            "AWS_S3_ENDPOINT": parts.netloc + parts.path.rstrip("/"),
            "AWS_HTTPS": "NO" if self.plain_http else "YES",
            "AWS_VIRTUAL_HOSTING": "FALSE",
        }
        return {k: v for k, v in options.items() if k not in os.environ}


@lru_cache(maxsize=1)
def access() -> S3Access:
    """Return how this process reaches S3.

    Raises
    ------
    ConfigError
        When the profile does not exist or its file is damaged.
    """
    session = _session()
    try:
        region = session.region_name or os.environ.get("AWS_REGION") or "us-east-1"
        settings = session.client("s3", region_name=region).meta
    except Exception as error:
        raise _unusable(error) from error
    endpoint = settings.endpoint_url
    for_gdal = os.environ.get("AWS_S3_ENDPOINT")
    if (urlsplit(endpoint).hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn")):
        secure = os.environ.get("AWS_HTTPS", "YES").upper() not in {"NO", "FALSE", "OFF"}
        endpoint = f"{'https' if secure else 'http'}://{for_gdal}" if for_gdal else None
    unsigned = os.environ.get("AWS_NO_SIGN_REQUEST", "").upper() in {"YES", "TRUE", "ON", "1"}
    return S3Access(endpoint, region, unsigned)


def missing_library_error(error: ImportError) -> ConfigError:
    """Return the error for a library of the extra `s3` that is not installed."""
    library = (error.name or "obstore").partition(".")[0]
    return ConfigError(f"object stores need {library}; get it with: python -m pip install 'geoseg[s3]'")


def code_in(message: str) -> str:
    """Return the error code in a response of S3, or the beginning of a message without one."""
    code = re.search(r"<Code>(\w+)</Code>", message)
    status = re.search(r"status code: (\d+ [A-Z][A-Za-z ]+)", message)
    return (code or status or [message, message[:200]])[1].strip()


@lru_cache(maxsize=1)
def _session() -> Any:
    try:
        import boto3  # noqa: PLC0415

        return boto3.Session()
    except ImportError as error:
        raise missing_library_error(error) from error
    except Exception as error:
        raise _unusable(error) from error


def _unusable(error: Exception) -> ConfigError:
    return ConfigError(f"S3: the settings for AWS cannot be used: {one_line(error)}; {CHECK}")
