"""A soak test of the server, its cost compared with the library, and the client that both use."""
