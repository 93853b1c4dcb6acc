"""The way to a board, with this machine in the place of the board."""
