"""Tests of tinyedge.calibrate."""
