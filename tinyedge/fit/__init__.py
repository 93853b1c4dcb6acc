"""Which shapes keep a budget on a target, by a formula that was fitted to counts of the emulated board.

Standard library and `tinyedge.core.config` alone; knows no model, no bundle and no torch.
"""
