"""The bundle format, and everything that reads or writes it. Does not use ONNX Runtime.

`bundle` reads and writes the folder, `manifest` defines the fields of manifest.json, `onnx_scan` limits what
a graph may hold, `signature` proves who made it, `store` keeps several on a board.
"""
