"""`tinyedge bench --calibrate`: the clock and the memory of this machine, for the cost formula."""
