"""The guide's deployment checklist: each item is measured and ticked or crossed."""
