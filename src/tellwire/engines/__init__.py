"""Engines: the broker, history, carrier and row errors that belong together, a folder for each.

`registry` opens the one that the settings name.
"""
