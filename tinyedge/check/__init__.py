"""The guide's deployment checklist as measurements: each line is measured, and ticked or crossed."""
