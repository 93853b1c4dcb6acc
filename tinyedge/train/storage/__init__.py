"""What a run keeps on disk so that nothing is lost: checkpoints, the lock, the previous run."""
