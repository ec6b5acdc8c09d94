"""Every flag, one module per entry point; `define()` defines them."""
