"""Envoy's counters: what to ask its admin socket for, and how to read the answer. Pure."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from conveyor.domain.outcome import counted
from conveyor.domain.proxy import ProxyStats
from conveyor.domain.routing import Bin, ClusterStats, quantile
from conveyor.effects.envoy_config import ENDED, LISTENER

_NO_CLUSTER = ""
_ENDED = re.compile(rf"{re.escape(ENDED)}\.cluster\.(.*)\.code\.(\d+)\.flags\.([A-Z0-9,-]+)")
_LISTENER = f"http.{LISTENER}"
_PROXY = ("server.uptime", f"{_LISTENER}.downstream_rq_total", f"{_LISTENER}.downstream_rq_active")
_LOADED = f"{_LISTENER}.rds.{LISTENER}.config_reload_time_ms"


def question(names: Iterable[str]) -> str:
    """The path to ask: all that a look needs in one request, and nothing of other clusters."""
    choice = "|".join(re.escape(name) for name in names) or "(?:)"
    proxy = "|".join(re.escape(name) for name in (*_PROXY, _LOADED))
    of_cluster = r"upstream_rq_(completed|5xx|active|time)|health_check\.failure"
    ended = rf"{re.escape(ENDED)}\.cluster\.({choice}|)\.code\..*"
    pattern = rf"^(cluster\.({choice})\.({of_cluster})|{ended}|{proxy})$"
    return "/stats?" + urllib.parse.urlencode({"format": "json", "filter": pattern, "histogram_buckets": "detailed"})


def parse(document: dict[str, Any], names: Iterable[str]) -> ProxyStats:
    """Envoy's `/stats?format=json&histogram_buckets=detailed`."""
    counts: dict[str, int] = {}
    latencies: dict[str, tuple[Bin, ...]] = {}
    for entry in document.get("stats", []):
        if "name" in entry:
            counts[entry["name"]] = int(entry["value"])
        for histogram in entry.get("histograms", {}).get("details", []):
            latencies[histogram["name"]] = tuple(
                Bin(float(total["lower_bound"]), float(total["width"]), int(total["count"]))
                for total in histogram.get("totals", [])
            )
    ended = _by_cluster(counts)
    uptime, requests, active = (counts.get(name, 0) for name in _PROXY)
    loaded = counts.get(_LOADED, 0)
    return ProxyStats(
        {name: found for name in names if (found := _cluster(name, counts, latencies, ended))},
        uptime,
        requests,
        active,
        counted(ended.get(_NO_CLUSTER, {})),
        datetime.fromtimestamp(loaded / 1000, UTC) if loaded else None,
    )


def _by_cluster(counts: dict[str, int]) -> dict[str, dict[tuple[int, str], int]]:
    found: dict[str, dict[tuple[int, str], int]] = {}
    for name, count in counts.items():
        if matched := _ENDED.fullmatch(name):
            cluster, code, flags = matched.groups()
            found.setdefault(cluster, {})[int(code), flags] = count
    return found


def _cluster(
    name: str,
    counts: dict[str, int],
    latencies: dict[str, tuple[Bin, ...]],
    ended: dict[str, dict[tuple[int, str], int]],
) -> ClusterStats | None:
    prefix = f"cluster.{name}.upstream_rq_"
    if f"{prefix}active" not in counts and f"{prefix}completed" not in counts and name not in ended:
        return None
    bins = latencies.get(f"{prefix}time", ())
    return ClusterStats(
        requests=counts.get(f"{prefix}completed", 0),
        errors_5xx=counts.get(f"{prefix}5xx", 0),
        p50_ms=quantile(bins, 0.50),
        p99_ms=quantile(bins, 0.99),
        active=counts.get(f"{prefix}active", 0),
        latencies=bins,
        checks_failed=counts.get(f"cluster.{name}.health_check.failure", 0),
        outcomes=counted(ended.get(name, {})),
    )
