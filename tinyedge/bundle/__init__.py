"""The bundle: its format, how it is read, checked, signed and kept on a board. Knows no ONNX Runtime."""
