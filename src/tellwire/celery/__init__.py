"""Celery tasks as uploads: each attempt, time limit and revocation is told to the user as it happens.

    tracked      a decorator below `@app.task`: the task gets an upload to count on
    in_parts     signatures of a group or a chord, as parts of one upload

It needs the extra `celery`, and is for the programs that have tasks; a producer imports nothing of it.
"""

from tellwire.extras import needs_extra

with needs_extra("tellwire.celery", "celery"):
    from tellwire.celery.parts import in_parts
    from tellwire.celery.tracked import tracked

__all__ = ["in_parts", "tracked"]
