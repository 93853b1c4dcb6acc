"""The bundle format, and everything that reads or writes it. Does not use ONNX Runtime.

`bundle` reads and writes the folder, `manifest` defines the fields of manifest.json, `onnx_scan` restricts
what a graph may contain, `signature` proves who made a bundle, `store` keeps several bundles on a board.
"""
