"""Other people's weight files, read without executing anything."""
