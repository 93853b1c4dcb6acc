"""The bundle format: reading, validating, writing, signing and storing bundles. Does not use ONNX Runtime."""
