"""ONNX Runtime, imported quietly: by default it starts threads and sends usage data over the network.

Everything that needs it imports it from here. `ORT_DISABLE_TELEMETRY` is the switch its Privacy.md names; who
sets it otherwise keeps what they set.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

__all__ = ["onnxruntime"]
