"""The log: one table that is the truth, and two files that follow it."""
