"""The configuration file, read again when its content changes: a key can be rotated without a restart."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

from controlplane.apiserver.encryption.backend import SealingBackend
from controlplane.apiserver.encryption.configuration import parse

LOOK_SECONDS: Final = 2.0

logger = logging.getLogger(__name__)


async def follow(path: Path, backend: SealingBackend, period_seconds: float = LOOK_SECONDS) -> None:
    """Look for another content until cancelled; what cannot be read or used is told in the log, and the old rules stay."""
    seen: bytes | None = None  # not what is there now: it may have changed since the rules were made
    while True:
        await asyncio.sleep(period_seconds)
        found = await asyncio.to_thread(_read, path)
        if found is None or found == seen:
            continue
        seen = found
        try:
            backend.rules = parse(found)
        except ValueError as error:
            logger.error("%s is no usable encryption configuration, the one before stays: %s", path, error)
        else:
            logger.info("%s was read again", path)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError as error:
        logger.warning("%s cannot be read: %s", path, error)
        return None
