"""How often home commands are understood: a bundle, and hassil's own matcher."""
