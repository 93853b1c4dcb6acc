"""Text from anywhere to one format: a sentence a line, UTF-8, NFC, a blank line between documents."""
