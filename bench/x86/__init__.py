"""Other kinds of x86-64 CPU, emulated by hiding instruction sets: `python -m bench.x86 BUNDLE`."""
