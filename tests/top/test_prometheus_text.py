"""The text format: the example of its documentation, pages of the real client, and invalid pages."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyedge.top.prometheus_text import parse


def test_the_example_of_the_documentation() -> None:
    metrics = parse(
        "# HELP http_requests_total The total number of HTTP requests.\n"
        "# TYPE http_requests_total counter\n"
        'http_requests_total{method="post",code="200"} 1027 1395066363000\n'
        'http_requests_total{method="post",code="400",}    3 1395066363000\n'
        "\n"
        "# Escaping in label values:\n"
        'msdos_file_access_time_seconds{path="C:\\\\DIR\\\\FILE.TXT",'
        'error="Cannot find file:\\n\\"FILE.TXT\\""} 1.458255915e9\n'
        "metric_without_timestamp_and_labels 12.47\n"
        'something_weird{problem="division by zero"} +Inf -3982045\n'
        "not_a_number NaN\n"
        "hex_is_not 1e-3\r\n"
    )
    assert metrics.value("http_requests_total", method="post", code="200") == 1027
    assert metrics.total("http_requests_total") == 1030
    assert metrics.sum_by("http_requests_total", "code") == {"200": 1027, "400": 3}
    assert metrics.sum_by("http_requests_total", "none") == {"": 1030}
    assert metrics.labels("msdos_file_access_time_seconds") == {
        "path": "C:\\DIR\\FILE.TXT",
        "error": 'Cannot find file:\n"FILE.TXT"',
    }
    assert metrics.value("metric_without_timestamp_and_labels") == 12.47
    assert metrics.value("something_weird", problem="division by zero") == math.inf
    assert math.isnan(metrics.value("not_a_number") or 0)
    assert metrics.value("hex_is_not") == 0.001
    assert metrics.value("http_requests_total") is None
    assert metrics.total("none") is None
    assert metrics.labels("none") == {}


@pytest.mark.parametrize(
    "line",
    [
        *("name", "1name 2", "name two", "name 0x10", "name 1_000", "name 1 2.5", "name 1 2 3", "name{} x"),
        *('name{a="1" 2', 'name{a="1"}2', "name{a=1} 2", 'name{a="1"b="2"} 3', 'name{a="1",a="2"} 3'),
        *("name{,} 1", 'name{a="1",,} 1', 'name{a="\\t"} 1', 'name{a="} 1', 'name{="1"} 1', "{} 1", "name  "),
        *('name{a-b="1"} 1', "name nan", "<html>", "name ١", "name infinity", "name 1\n name 1"),
    ],
)
def test_an_invalid_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="line "):
        parse(f"# a comment\ngood 1\n{line}\n")


def test_a_repeated_series_is_refused() -> None:
    with pytest.raises(ValueError, match="line 2 repeats a "):
        parse('a{b="1",c="2"} 1\na{c="2",b="1"} 1\n')


@given(st.dictionaries(st.text(max_size=8), st.floats(), max_size=6))
def test_pages_of_the_real_client(values: dict[str, float]) -> None:
    client = pytest.importorskip("prometheus_client", reason="the server's extra")
    registry = client.CollectorRegistry()
    gauge = client.Gauge("some_figures", 'With "a label"\\ and\nhelp', ["which"], registry=registry)
    histogram = client.Histogram("some_seconds", "Times", registry=registry)
    for label, value in values.items():
        gauge.labels(label).set(value)
        histogram.observe(0.3)
    page = client.generate_latest(registry).decode("utf-8")
    metrics = parse(page)
    for label, value in values.items():
        found = metrics.value("some_figures", which=label)
        assert found == value or (found is not None and math.isnan(found) and math.isnan(value))
    assert metrics.value("some_seconds_count") == len(values)
    assert metrics.value("some_seconds_bucket", le="+Inf") == len(values)
    from prometheus_client.parser import text_string_to_metric_families

    theirs = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    for sample in theirs:
        found = metrics.value(sample.name, **sample.labels)
        assert found == sample.value or math.isnan(sample.value)
