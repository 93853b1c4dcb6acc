"""What several threads cost on the board: counted in the emulated one, fitted to published times."""
