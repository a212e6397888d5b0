"""The environment that user code runs in: nothing of the control plane's own."""

from __future__ import annotations

import os
from pathlib import Path

_KEPT = (
    "HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "TZ", "USER",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "PIP_CERT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
    "PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_CACHE_DIR", "UV_NATIVE_TLS",
)  # fmt: skip


def given_secrets() -> list[str]:
    """The secret values that `sealed.py` gave this process; what it writes elsewhere than to its output masks them."""
    return [os.environ[name] for name in os.environ.get("CONVEYOR_SECRETS", "").split() if name in os.environ]


def clean_environment(env_dir: Path | None = None) -> dict[str, str]:
    """Where programs and registries are found, and no more; with a project environment its programs come first."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    kept["PYTHONUNBUFFERED"] = "1"
    if env_dir is not None:
        kept["VIRTUAL_ENV"] = str(env_dir)
        kept["PATH"] = f"{env_dir / 'bin'}:{kept.get('PATH', os.defpath)}"
    return kept
