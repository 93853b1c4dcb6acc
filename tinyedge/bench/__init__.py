"""Measuring, summing up and judging a bundle: worker, stats, report, gate. One step a module."""
