"""The small HTTP door of a node: its health, and its numbers for Prometheus.

It is for whoever runs the node, listens on loopback unless told otherwise, and says nothing that
the ledger does not say to every member.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from colearn.core import Phase
from colearn.crypto import checksum_address
from colearn.errors import MissingExtraError
from colearn.network.follower import Snapshot
from colearn.network.metrics import METRICS_TYPE, Metrics

try:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route
except ImportError as error:
    raise MissingExtraError("starlette", extra="network") from error

__all__ = ["health_of", "make_health_app"]

_STALE_S = 120.0
"""Without having read the ledger for so long, in seconds, a node is not well."""


def health_of(name: str, address: str, snapshot: Snapshot | None) -> dict[str, Any]:
    """Return what a node says of itself; `ok` is whether it follows the ledger."""
    known: dict[str, Any] = {"name": name, "address": checksum_address(address)}
    if snapshot is None:
        return {**known, "ok": False, "state": "starting"}
    experiment = snapshot.experiment
    silent_s = time.monotonic() - snapshot.read_at
    # Training may take as long as it likes: the ledger is read meanwhile.
    return {
        **known,
        "ok": silent_s < _STALE_S and not snapshot.error,
        "state": "over" if experiment.phase is Phase.OVER else "running",
        "experiment": experiment.number,
        "round": experiment.round.number,
        "phase": experiment.phase.name.lower(),
        "duty": str(snapshot.duty),
        "busy": snapshot.busy,
        "member": experiment.roster.seat(address) is not None,
        "members": experiment.roster.size,
        "dormant": experiment.roster.dormant.bit_count(),
        "model": experiment.model,
        "head": str(snapshot.head),
        "certified": snapshot.certified,
        "error": snapshot.error,
        "read_s_ago": round(silent_s, 3),
    }


def make_health_app(health: Callable[[], dict[str, Any]], metrics: Metrics) -> Starlette:
    """Return the application.

    Args:
        health: Returns what `health_of` says now.
        metrics: The node's numbers.
    """

    async def answer_health(_request: Request) -> Response:
        found = health()
        return Response(
            json.dumps(found), 200 if found["ok"] else 503, media_type="application/json"
        )

    async def answer_metrics(_request: Request) -> Response:
        return Response(metrics.text(), headers={"content-type": METRICS_TYPE})

    return Starlette(routes=[Route("/v1/health", answer_health), Route("/metrics", answer_metrics)])
