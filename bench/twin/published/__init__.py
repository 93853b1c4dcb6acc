"""Published measurements on boards with the core of the Pi Zero 2 W, and the programs that were measured.

`measurements.json` quotes them with their sources, `programs` and `prepare` remake the programs for the
emulated board, `count` counts a unit of their work. Nothing here knows the latency model fitted to them.
"""
