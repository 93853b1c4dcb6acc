"""Everything that knows torch and learns: model, recipe, data order, trainer, checkpoint."""
