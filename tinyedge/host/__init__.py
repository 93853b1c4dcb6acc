"""Facts about the machine: hardware, sensors, memory, and the helpers that manage this process on it."""
