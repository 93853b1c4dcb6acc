"""Reports of a run: progress, metrics, training curve, advice, samples."""
