"""ONNX Runtime without telemetry: by default its import starts threads that send usage data over the network.

All other modules import `onnxruntime` from here. Its Privacy.md documents `ORT_DISABLE_TELEMETRY`; a value
that is already set is kept.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

__all__ = ["onnxruntime"]
