"""Probes and lifecycle hooks of a container: one question put by exec, HTTP, TCP, gRPC or by sleeping."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from typing import Any

from controlplane.kubelet import checks
from controlplane.kubelet.checks import Outcome
from controlplane.kubelet.runtimes.port import ContainerKey, Runtime, StartFailed

POST_START_LIMIT_SECONDS = 60.0
FAILED_START_SIGNAL = int(signal.SIGTERM)


async def ask(
    runtime: Runtime,
    key: ContainerKey,
    container: Mapping[str, Any],
    probe: Mapping[str, Any],
    pod_ip: str,
    timeout_seconds: float,
) -> Outcome:
    """Run one probe or hook. The caller bounds the time, except for exec, which gets the bound itself."""
    if probe.get("httpGet"):
        return await checks.http_get(container, probe["httpGet"], pod_ip)
    if probe.get("tcpSocket"):
        return await checks.tcp_connect(container, probe["tcpSocket"], pod_ip)
    if probe.get("grpc"):
        return await checks.grpc_health(probe["grpc"], pod_ip)
    if probe.get("sleep"):
        await asyncio.sleep(float(probe["sleep"].get("seconds") or 0))
        return Outcome(True)
    if not probe.get("exec"):
        return Outcome(True)
    try:
        result = await runtime.execute(key, probe["exec"].get("command") or (), timeout_seconds)
    except StartFailed as error:
        return Outcome(False, error.message)
    if result.exit_code == 0:
        return Outcome(True)
    text = result.output.decode("utf-8", "replace").strip()
    return Outcome(False, text or f"command exited with {result.exit_code}")


async def run_hook(
    runtime: Runtime,
    key: ContainerKey,
    container: Mapping[str, Any],
    hook: Mapping[str, Any],
    pod_ip: str,
    limit_seconds: float,
) -> Outcome:
    """`ask` with the bound applied here."""
    try:
        async with asyncio.timeout(limit_seconds):
            return await ask(runtime, key, container, hook, pod_ip, limit_seconds)
    except TimeoutError:
        return Outcome(False, f"timed out after {limit_seconds:g}s")
