"""Tests of the native kernels, and the exact reference that they are compared with."""
