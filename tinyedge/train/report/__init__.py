"""What a run tells people: progress, metrics, pictures, advice."""
