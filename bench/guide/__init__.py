"""The guide in `docs/guide/`: running its chapters, and writing the figures that they quote."""
