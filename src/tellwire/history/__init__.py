"""What was said to users, kept so that it can be said again: in memory, or in an SQLite file.

Both keep `stream.Stream`s, one for each user; what a stream says and forgets is decided there.
"""
