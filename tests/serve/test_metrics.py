"""/metrics, parsed by Prometheus' own parser."""

import math
import shutil
import time
from pathlib import Path

import pytest

from bench.serve.loopback import Server

pytest.importorskip("prometheus_client", reason="the server needs the extra `serve`")

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tinyedge.serve import metrics as module
from tinyedge.serve.errors import METRIC_KINDS
from tinyedge.serve.metrics import RECENT_COUNT, RecentResponses, ServerMetrics

COUNTERS = {
    "tinyedge_requests": ("endpoint", "status"),
    "tinyedge_errors": ("kind",),
    "tinyedge_tokens": ("kind",),
    "tinyedge_reloads": ("result",),
}
HISTOGRAMS = ("tinyedge_ttft_seconds", "tinyedge_itl_seconds", "tinyedge_response_seconds")
GAUGES = (
    *("tinyedge_queue_depth", "tinyedge_active_requests", "tinyedge_rss_bytes", "tinyedge_swap_bytes"),
    *("tinyedge_peak_rss_bytes", "tinyedge_response_p50_seconds", "tinyedge_response_p95_seconds"),
    *("tinyedge_response_p99_seconds", "tinyedge_decode_tokens_per_second", "tinyedge_uptime_seconds"),
)


def parse_metrics(text: bytes) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text.decode())}


def get_value(families: dict[str, Metric], sample: str, **labels: str) -> float:
    for family in families.values():
        for found in family.samples:
            if found.name == sample and labels.items() <= found.labels.items():
                return float(found.value)
    return 0.0


def test_all_metrics_are_present(micro_bundle: Path) -> None:
    from tinyedge import __version__

    with Server(micro_bundle) as server:
        before = parse_metrics(server.get("/metrics").body)
        assert "tinyedge_response_p50_seconds" not in before  # no value without a response
        tokens = server.complete("The captain", max_tokens=5, ignore_eos=True).json()["usage"]
        server.complete("The captain", temperature=9)
        server.get("/nothing")
        answer = server.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = parse_metrics(answer.body)
    for name, labels in COUNTERS.items():
        assert found[name].type == "counter"
        assert {tuple(sample.labels) for sample in found[name].samples} == {labels}
    for name in HISTOGRAMS:
        assert found[name].type == "histogram"
        assert get_value(found, f"{name}_bucket", le="+Inf") == get_value(found, f"{name}_count")
    for name in GAUGES:
        assert found[name].type == "gauge"
        assert math.isfinite(found[name].samples[0].value)
    optional = {"tinyedge_temperature_celsius", "tinyedge_throttling_flags"}
    assert found.keys() - optional == {*COUNTERS, *HISTOGRAMS, *GAUGES, "tinyedge_info"}
    info = found["tinyedge_info"].samples[0].labels
    assert (info["version"], info["precision"], len(info["bundle"])) == (__version__, "int8", 64)
    assert (info["engine"], info["threads"]) == ("onnxruntime", "1")
    completions = "/v1/completions"
    assert get_value(found, "tinyedge_requests_total", endpoint=completions, status="200") == 1
    assert get_value(found, "tinyedge_requests_total", endpoint=completions, status="400") == 1
    assert get_value(found, "tinyedge_requests_total", endpoint="none", status="404") == 1
    assert get_value(found, "tinyedge_errors_total", kind="invalid_request") == 2
    assert {sample.labels["kind"] for sample in before["tinyedge_errors"].samples} == set(METRIC_KINDS)
    assert get_value(found, "tinyedge_tokens_total", kind="prompt") == tokens["prompt_tokens"]
    assert get_value(found, "tinyedge_tokens_total", kind="completion") == tokens["completion_tokens"] == 5
    assert get_value(found, "tinyedge_itl_seconds_count") == 4
    assert (
        get_value(found, "tinyedge_response_seconds_count")
        == get_value(found, "tinyedge_ttft_seconds_count")
        == 1
    )


def test_labels_do_not_depend_on_what_clients_send(server: Server) -> None:
    for index in range(20):
        server.get(f"/nothing/{index}")
        server.get(f"/v1/models/{index}")
    found = parse_metrics(server.get("/metrics").body)
    endpoints = {sample.labels["endpoint"] for sample in found["tinyedge_requests"].samples}
    assert endpoints <= {
        *("none", "/", "/healthz", "/readyz", "/health", "/metrics", "/v1/responses"),
        *("/v1/models", "/v1/models/{id}", "/v1/completions", "/v1/chat/completions"),
    }


def test_percentiles_are_those_of_the_last_responses() -> None:
    responses = RecentResponses()
    assert responses.percentile(95) is None
    assert responses.tokens_per_second() is None
    for _ in range(50):
        responses.add(1000.0, 1, 100.0)
    for index in range(RECENT_COUNT):
        responses.add(float(index + 1), 19, 0.1)
    assert [responses.percentile(percent) for percent in (50, 95, 99)] == [100, 190, 198]
    assert responses.tokens_per_second() == pytest.approx(190)


def test_the_firmware_is_queried_at_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    clock = [100.0]

    def read_bits(program: str) -> int:
        calls.append(program)
        return 0x50005

    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/vcgencmd")
    monkeypatch.setattr(module, "read_throttling_bits", read_bits)
    monkeypatch.setattr(module, "read_temperature", lambda: 61.5)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    metrics = ServerMetrics(lambda: 3, lambda: 1)
    for _ in range(5):
        found = parse_metrics(metrics.render())
        clock[0] += 1
    assert calls == ["/usr/bin/vcgencmd"]
    assert get_value(found, "tinyedge_throttling_flags") == 0x50005
    assert get_value(found, "tinyedge_temperature_celsius") == 61.5
    assert get_value(found, "tinyedge_queue_depth") == 3
    clock[0] += module.THROTTLING_INTERVAL_S
    metrics.render()
    assert len(calls) == 2


def test_unavailable_metrics_are_omitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(module, "read_temperature", lambda: None)
    found = parse_metrics(ServerMetrics(lambda: 0, lambda: 0).render())
    assert "tinyedge_throttling_flags" not in found
    assert "tinyedge_temperature_celsius" not in found
