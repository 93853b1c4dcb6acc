"""Checks of the native kernels that take longer than a test."""
