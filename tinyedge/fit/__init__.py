"""Model shapes that meet a budget on a board, by a formula fitted to counts of the emulated board.

Imports the standard library, `tinyedge.core` and `tinyedge.boards`. Does not know models, bundles or torch.
"""
