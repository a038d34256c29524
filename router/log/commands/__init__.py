"""What `python -m router.log` does: a module per command."""
