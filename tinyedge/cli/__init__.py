"""The command line: one thin function per command: parse, import lazily, call the library, print."""
