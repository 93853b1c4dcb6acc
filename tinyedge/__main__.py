"""`python -m tinyedge` is the same program as `tinyedge`."""

from tinyedge.cli import main

main()
