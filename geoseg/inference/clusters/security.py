"""TLS between client, scheduler and workers."""

from pathlib import Path
from typing import Any

from geoseg.config.cluster import Security
from geoseg.core.errors import ConfigError


def tls_settings(security: Security | None) -> dict[str, Any]:
    """Return what Dask's configuration must say, so that all that is started uses TLS and takes nothing else.

    Raises
    ------
    ConfigError
        When a file is missing.
    """
    if security is None:
        return {}
    files = {key: Path(value).expanduser().resolve() for key, value in security.model_dump().items()}
    for key, path in files.items():
        if not path.is_file():
            raise ConfigError(f"cluster.security.{key}: {path}: no such file")
    roles = {
        f"distributed.comm.tls.{role}.{key}": str(files[key])
        for role in ("client", "scheduler", "worker")
        for key in ("cert", "key")
    }
    return {
        "distributed.comm.tls.ca-file": str(files["ca"]),
        "distributed.comm.require-encryption": True,
        **roles,
    }
