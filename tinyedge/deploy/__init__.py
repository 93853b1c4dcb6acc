"""From a bundle to a board that answers: a kit that needs no network there, and the way over ssh."""
