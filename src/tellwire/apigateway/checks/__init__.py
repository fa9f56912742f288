"""Checks of a template: differences between this machine and AWS. Pure; each finding is one line."""
