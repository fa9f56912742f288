"""The tutorial, typed literally: `python -m scripts.tutorial` does it as a reader, and prints the time it took.

    docs/tutorial/first-upload.md ─▶ page (pure): steps ─▶ typing: terminals and a browser, in an empty folder

A fenced block says by its title where it belongs. `title="Terminal 1"` of a `sh` block: it is typed there. Of a `text`
block: it must appear there (`…` is anything, and a bar of `━` is any bar). Any other title is a file that is written.
"Open <address> and press **button**" is done in a browser. The ports of the page are replaced by free ones.
"""
