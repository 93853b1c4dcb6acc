"""Deployment: make a kit that needs no network on the board, and install it over SSH."""
