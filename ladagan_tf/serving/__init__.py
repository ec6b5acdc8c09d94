"""A trained generator over HTTP, for programs and for people."""
