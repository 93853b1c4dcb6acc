"""What measures tinyedge: against peers, on the emulated board, in training, as a server. Not installed."""
