"""Home commands: a sentence, with the names of a home, to an intent and its slots."""
