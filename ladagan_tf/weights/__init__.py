"""Reading other people's weight files without executing anything in them."""
