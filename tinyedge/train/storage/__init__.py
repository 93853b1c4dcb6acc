"""Files that keep a run safe: checkpoints, the lock of its folder, the previous run."""
