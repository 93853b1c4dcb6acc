"""Training with torch: recipe, model, data, the training step (`step`), the loop (`trainer`), checkpoints."""
