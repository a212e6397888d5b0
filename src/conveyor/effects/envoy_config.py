"""`Routing` -> Envoy configuration, as JSON-able dicts. Pure.

Choices that keep requests from failing:
- Retries only where the request cannot have reached the application (connect failure, refused stream, reset before
  the request was sent), so that a POST is never done twice.
- Idle connections to a process are closed after one second, before common servers close theirs (2 to 5 s): a request
  never meets a connection that the other side is closing.
- No panic mode: an unhealthy process gets no traffic, ever. In return a process counts as unhealthy only after three
  checks of three seconds: a machine busy with training must not look like a dead one.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from conveyor.domain.routing import ANY_HOST, Cluster, Route, Routing, Weighted

Json = dict[str, Any]
ROUTE_CONFIG = "public"
LISTENER = "public"
ENDED = "conveyor.ended"
"""Where the proxy counts requests when they have ended; `effects.envoy_stats` reads it."""
VERSION_HEADER = "x-conveyor-version"
PAIR_HEADER = "x-conveyor-pair"
STICKY_COOKIE = "conveyor-canary"
_TYPES = "type.googleapis.com/envoy"
_LOCALHOST = "127.0.0.1"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def bootstrap(*, admin_socket: str, lds: str, cds: str) -> Json:
    """The static part: who am I, where is the admin socket, which files to watch."""
    return {
        "node": {"id": "conveyor", "cluster": "conveyor"},
        "admin": {"address": {"pipe": {"path": admin_socket, "mode": 0o600}}},
        "dynamic_resources": {"lds_config": _watched(lds), "cds_config": _watched(cds)},
        # Counters are merged when someone asks, not by a timer: an idle proxy stays idle, an answer is fresh.
        "stats_flush_on_admin": True,
        "layered_runtime": {"layers": [{"name": "static", "static_layer": {}}]},
    }


def listeners(public_port: int, rds: str, *, address: str = _LOCALHOST) -> Json:
    manager = {
        "@type": f"{_TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": LISTENER,
        "access_log": [_ended()],
        "rds": {"route_config_name": ROUTE_CONFIG, "config_source": _watched(rds)},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": f"{_TYPES}.extensions.filters.http.router.v3.Router",
                    "suppress_envoy_headers": True,
                },
            }
        ],
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "use_remote_address": True,
        # No address is trusted to steer the proxy by x-envoy-* headers.
        "internal_address_config": {"unix_sockets": False},
        "preserve_external_request_id": True,
        "server_header_transformation": "PASS_THROUGH",
        "normalize_path": True,
        "common_http_protocol_options": {"idle_timeout": "300s", "headers_with_underscores_action": "ALLOW"},
        "stream_idle_timeout": "300s",
        "request_headers_timeout": "15s",
        "local_reply_config": _local_replies(),
    }
    listener = {
        "@type": f"{_TYPES}.config.listener.v3.Listener",
        "name": "public",
        "address": {"socket_address": {"address": address, "port_value": public_port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        "per_connection_buffer_limit_bytes": 1 << 20,
    }
    return _response([listener])


def clusters(routing: Routing) -> Json:
    return _response([_cluster(cluster) for cluster in sorted(routing.clusters, key=lambda c: c.name)])


def routes(routing: Routing) -> Json:
    hosts = sorted({route.host for route in routing.routes} | {ANY_HOST})
    # A name beside those of a project's environments is nobody's: one that was taken down must not be production.
    beside = sorted({f"*.{parent}" for host in hosts if (parent := host.partition(".")[2])})
    config = {
        "@type": f"{_TYPES}.config.route.v3.RouteConfiguration",
        "name": ROUTE_CONFIG,
        "virtual_hosts": [_virtual_host(host, routing) for host in [*hosts, *beside]],
        "ignore_port_in_host_matching": True,
        "response_headers_to_remove": ["server", "x-powered-by"],
    }
    return _response([config])


def encode(response: Json) -> bytes:
    return json.dumps(response, sort_keys=True, indent=1).encode()


def _response(resources: list[Json]) -> Json:
    """A DiscoveryResponse; its version is the digest of its content, so equal content never reloads."""
    digest = hashlib.blake2b(json.dumps(resources, sort_keys=True).encode(), digest_size=8).hexdigest()
    return {"version_info": digest, "resources": resources}


def _watched(path: str) -> Json:
    return {"resource_api_version": "V3", "path_config_source": {"path": path}}


def _cluster(cluster: Cluster) -> Json:
    return {
        "@type": f"{_TYPES}.config.cluster.v3.Cluster",
        "name": cluster.name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": {
            "cluster_name": cluster.name,
            "endpoints": [{"lb_endpoints": [_endpoint(place) for place in sorted(cluster.endpoints, key=str)]}],
        },
        "health_checks": [
            {
                "timeout": "3s",
                "interval": "2s",
                "no_traffic_interval": "0.1s",  # until it is healthy: a new process is found as soon as it answers
                "unhealthy_interval": "0.25s",
                "unhealthy_edge_interval": "0.25s",
                "no_traffic_healthy_interval": "2s",
                "unhealthy_threshold": 3,
                "healthy_threshold": 1,
                "http_health_check": {"path": cluster.health_path, "host": "localhost"},
            }
        ],
        # Without a merge window what the admin socket says of health is what the workers act on.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
        "close_connections_on_host_health_failure": True,
        # Only for a process that cannot be reached; an application that answers 500 is the rollout's to judge.
        "outlier_detection": {
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 5,
            "enforcing_local_origin_success_rate": 0,
            "enforcing_consecutive_5xx": 0,
            "enforcing_consecutive_gateway_failure": 0,
            "enforcing_success_rate": 0,
            "base_ejection_time": "2s",
            "max_ejection_percent": 50,
            "interval": "2s",
        },
        "circuit_breakers": {
            "thresholds": [
                {"max_connections": 8192, "max_pending_requests": 8192, "max_requests": 8192, "max_retries": 1024}
            ]
        },
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: {
                "@type": f"type.googleapis.com/{_HTTP_OPTIONS}",
                "explicit_http_config": {"http_protocol_options": {}},
                "common_http_protocol_options": {"idle_timeout": "1s"},
            }
        },
    }


def _endpoint(place: int | str) -> Json:
    port = {"socket_address": {"address": _LOCALHOST, "port_value": place}}
    return {"endpoint": {"address": {"pipe": {"path": place}} if isinstance(place, str) else port}}


def _virtual_host(host: str, routing: Routing) -> Json:
    mine = sorted((r for r in routing.routes if r.host == host), key=lambda r: (-len(r.prefix), r.prefix))
    rendered = [rendered for route in mine for rendered in _routes_of(route)]
    if not any(route.prefix == "/" for route in mine):
        rendered.append({"match": {"prefix": "/"}, "direct_response": _plain(404, "No route serves this address.")})
    return {
        "name": host,
        "domains": [host],
        "routes": rendered,
    }


def _routes_of(route: Route) -> list[Json]:
    """One entry or more: some clients are known by their cookie, and only what changes nothing is mirrored."""
    found = [_route(route)]
    shares = [part for part in route.weighted if part.weight > 0]
    if route.sticky and len(shares) > 1:
        found = _by_cookie(found[0]) if route.sticky == "cookie" else [_hashed(found[0], route.sticky)]
    if not route.mirror or not shares:
        return [{**entry, "request_headers_to_remove": [PAIR_HEADER]} for entry in found]  # nobody else may say it
    found = [entry for plain in found for entry in _mirrored(plain, route.mirror, everything=route.mirrors_all)]
    if not route.pairs:
        return found
    pair = {"key": PAIR_HEADER, "value": f"{route.pairs} %UNIQUE_ID%"}
    return [
        {**entry, "request_headers_to_add": [{"header": pair, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]}
        for entry in found
    ]


def _route(route: Route) -> Json:
    match = {"prefix": route.prefix} if route.prefix.endswith("/") else {"path_separated_prefix": route.prefix}
    shares = [part for part in route.weighted if part.weight > 0]
    if not shares:
        return {"match": match, "direct_response": _plain(503, "No version is live at this address yet.")}
    action: Json = {
        "weighted_clusters": {"clusters": [_share(part) for part in shares]},
        "timeout": f"{route.timeout:.3f}s",
        "idle_timeout": f"{route.idle:.3f}s",
        "retry_policy": _retries(),
    }
    if route.rewrite:
        action["prefix_rewrite"] = route.rewrite
    return {"match": match, "route": action}


def _by_cookie(plain: Json) -> list[Json]:
    """A client without the cookie is put on a side by the id of its request, and gets that id as the cookie.

    Both are hashed in the same way, so that it stays on that side; as a share grows, more ids are below it.
    """
    carries = {"name": "cookie", "string_match": {"contains": f"{STICKY_COOKIE}="}}
    known = _hashed(plain, None)
    known["match"] = {**plain["match"], "headers": [carries]}
    fresh = _hashed(plain, "x-request-id")
    cookie = {"key": "set-cookie", "value": f"{STICKY_COOKIE}=%REQ(X-REQUEST-ID)%; Path=/; HttpOnly; SameSite=Lax"}
    fresh["response_headers_to_add"] = [{"header": cookie, "append_action": "APPEND_IF_EXISTS_OR_ADD"}]
    return [known, fresh]


def _hashed(plain: Json, header: str | None) -> Json:
    """The route with the side chosen by a hash: of the header, or of the cookie."""
    policy = {"header": {"header_name": header}} if header else {"cookie": {"name": STICKY_COOKIE}}
    weighted = {**plain["route"]["weighted_clusters"], "use_hash_policy": True}
    return {**plain, "route": {**plain["route"], "weighted_clusters": weighted, "hash_policy": [policy]}}


def _mirrored(plain: Json, cluster: str, *, everything: bool) -> list[Json]:
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    policy = {"cluster": cluster, "runtime_fraction": always}
    copied = {**plain, "route": {**plain["route"], "request_mirror_policies": [policy]}}
    if everything:
        return [copied]
    safe = {"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD"}}}
    upgrade = {"name": "upgrade", "present_match": False}
    return [
        {**copied, "match": {**plain["match"], "headers": [*plain["match"].get("headers", []), safe, upgrade]}},
        plain,
    ]


def _retries() -> Json:
    hosts = f"{_TYPES}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    return {
        "retry_on": "connect-failure,refused-stream,reset-before-request",
        "num_retries": 2,
        "retry_host_predicate": [
            {"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": {"@type": hosts}}
        ],
        "host_selection_retry_max_attempts": 3,
        "retry_back_off": {"base_interval": "0.010s", "max_interval": "0.100s"},
    }


def _share(part: Weighted) -> Json:
    header = {"key": VERSION_HEADER, "value": part.version.replace("%", "%%")}
    return {
        "name": part.cluster,
        "weight": part.weight,
        "response_headers_to_add": [{"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
    }


def _plain(status: int, message: str) -> Json:
    return {"status": status, "body": {"inline_string": message}}


def _ended() -> Json:
    """Counts every request once, when it has ended, by version, status and Envoy's reason.

    The counters of clusters cannot tell these apart: a 503 after a reset from the application's own, a stream that was
    cut from one that its reader left. Counters of a cluster that is gone stay: a few for each version.
    """
    tags = {"cluster": "%UPSTREAM_CLUSTER%", "code": "%RESPONSE_CODE%", "flags": "%RESPONSE_FLAGS%"}
    prefix, _, name = ENDED.partition(".")
    stat = {"name": name, "tags": [{"name": tag, "value_format": value} for tag, value in tags.items()]}
    config = {
        "@type": f"{_TYPES}.extensions.access_loggers.stats.v3.Config",
        "stat_prefix": prefix,
        "counters": [{"stat": stat, "value_fixed": 1}],
    }
    return {"name": "envoy.access_loggers.stats", "typed_config": config}


def _local_replies() -> Json:
    """Answers that the proxy itself gives, in the shape of every other error of Conveyor."""
    return {
        "mappers": [
            _mapper(404, "not_found", "`conveyor status` lists the addresses that are served.", retryable=False),
            _mapper(504, "unavailable", "The process did not answer in time; see `conveyor logs`.", retryable=True),
        ],
        "body_format": _error_format("unavailable", "`conveyor status` says what is live.", retryable=True),
    }


def _mapper(status: int, code: str, hint: str, *, retryable: bool) -> Json:
    runtime_key = {"default_value": status, "runtime_key": f"conveyor.reply_{status}"}
    return {
        "filter": {"status_code_filter": {"comparison": {"op": "EQ", "value": runtime_key}}},
        "body_format_override": _error_format(code, hint, retryable=retryable),
    }


def _error_format(code: str, hint: str, *, retryable: bool) -> Json:
    error = {"code": code, "message": "%LOCAL_REPLY_BODY%", "hint": hint, "retryable": retryable}
    return {"json_format": {"error": error}}
