"""A page of metrics as `tinyedge serve` writes it, with some figures changed or left out."""

FIGURES: dict[str, float] = {
    'tinyedge_info{version="0.2.0",bundle="577cbd4d2580aa",precision="int8",engine="onnxruntime"}': 1,
    'tinyedge_requests_total{endpoint="/v1/completions",status="200"}': 120,
    'tinyedge_requests_total{endpoint="/v1/completions",status="429"}': 3,
    'tinyedge_errors_total{kind="busy"}': 3,
    'tinyedge_errors_total{kind="timeout"}': 0,
    'tinyedge_tokens_total{kind="prompt"}': 1500,
    'tinyedge_tokens_total{kind="completion"}': 2400,
    'tinyedge_ttft_seconds_bucket{le="0.1"}': 100,
    'tinyedge_ttft_seconds_bucket{le="+Inf"}': 120,
    "tinyedge_ttft_seconds_sum": 2.4,
    "tinyedge_ttft_seconds_count": 120,
    "tinyedge_itl_seconds_sum": 7.2,
    "tinyedge_itl_seconds_count": 2400,
    "tinyedge_queue_depth": 2,
    "tinyedge_active_requests": 1,
    "tinyedge_rss_bytes": 67.5 * 2**20,
    "tinyedge_peak_rss_bytes": 70 * 2**20,
    "tinyedge_swap_bytes": 0,
    "tinyedge_temperature_celsius": 52.4,
    "tinyedge_throttling_flags": 0,
    "tinyedge_response_p50_seconds": 0.0402,
    "tinyedge_response_p95_seconds": 0.0713,
    "tinyedge_response_p99_seconds": 0.0894,
    "tinyedge_decode_tokens_per_second": 401.2,
    "tinyedge_uptime_seconds": 3 * 3600 + 12 * 60,
}


def make_page(without: str = "\n", **changes: float) -> str:
    """Return the text of a page.

    Args:
        without: Series that start with this are left out.
        changes: Figures by name, without the prefix `tinyedge_`.
    """
    figures = {name: value for name, value in FIGURES.items() if not name.startswith(without)}
    for name, value in changes.items():
        figures[f"tinyedge_{name}"] = value
    values = {name: "NaN" if value != value else value for name, value in figures.items()}
    lines = ["# HELP tinyedge_info What serves.", "# TYPE tinyedge_info gauge"]
    return "\n".join([*lines, *(f"{name} {value}" for name, value in values.items())]) + "\n"
