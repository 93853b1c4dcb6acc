"""The ground floor: errors, files, configuration, statistics. Knows the standard library and numpy alone."""
