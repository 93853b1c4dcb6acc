"""One thin function a command: parse, import lazily, call the library, print."""
