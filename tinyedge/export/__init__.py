"""From a checkpoint to a bundle: ONNX with a cache, parity, int8, quality. The last stage with torch."""
