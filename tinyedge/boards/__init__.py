"""Boards that tinyedge knows, one JSON file each: processor, memory, budgets, packages, cost model.

In: the name of a board, or a JSON file of the user's own. Out: a `Board`. Imports the standard library and
`tinyedge.core` only. The device's `tinyedge generate` and the benchmark's worker do not import this package.
"""

DEFAULT_BOARD = "pi-zero-2w"  # what tinyedge is made for; here, because every command's help needs it
