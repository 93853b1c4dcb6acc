"""Is this machine fit to run a bundle? Reads the machine, changes nothing, and names the way out."""
