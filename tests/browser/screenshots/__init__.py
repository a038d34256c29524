"""The README's screenshots, taken from the running app."""
