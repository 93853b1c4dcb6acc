"""The alert rules: their structure, the metrics they use, and the guide's thresholds."""

import re
import shutil
import subprocess
from typing import Any

import pytest

from tinyedge.deploy.kit import find_deploy_files

RULES = find_deploy_files() / "alerts.yml"
METRICS = {
    "tinyedge_requests_total", "tinyedge_errors_total", "tinyedge_tokens_total", "tinyedge_queue_depth",
    "tinyedge_active_requests", "tinyedge_rss_bytes", "tinyedge_swap_bytes", "tinyedge_peak_rss_bytes",
    "tinyedge_temperature_celsius", "tinyedge_throttling_flags", "tinyedge_response_p95_seconds",
    "tinyedge_ttft_seconds_bucket", "tinyedge_itl_seconds_bucket", "tinyedge_response_seconds_bucket",
}  # fmt: skip


def load_rules() -> dict[str, dict[str, Any]]:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    content = yaml.safe_load(RULES.read_text())
    assert list(content) == ["groups"]
    (group,) = content["groups"]
    assert set(group) == {"name", "rules"}
    return {rule["alert"]: rule for rule in group["rules"]}


def test_each_rule_is_complete() -> None:
    rules = load_rules()
    assert len(rules) >= 8
    for name, rule in rules.items():
        assert re.fullmatch("Tinyedge[A-Za-z]+", name)
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert re.fullmatch("[0-9]+[smh]", rule.get("for", "1m"))
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert "$labels.instance" in rule["annotations"]["summary"]


def test_rules_use_only_metrics_of_the_server() -> None:
    for rule in load_rules().values():
        assert set(re.findall(r"tinyedge_\w+", rule["expr"])) <= METRICS


def test_thresholds_are_those_of_the_guide() -> None:
    rules = load_rules()
    assert rules["TinyedgeHighLatency"]["expr"] == "tinyedge_response_p95_seconds > 0.25"
    assert rules["TinyedgeHighMemory"]["expr"].endswith("> 400 * 1024 * 1024")


def test_promtool_accepts_the_rules() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool, from Debian's package prometheus")
    done = subprocess.run(["promtool", "check", "rules", RULES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
