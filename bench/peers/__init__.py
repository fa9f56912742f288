"""tellwire beside other servers: `python -m bench peers`. `bench/README.md` describes the scenarios.

command ─▶ scenarios ─▶ rounds, in turns ─▶ load (C): devices, requests, every delivery counted
   │            └─▶ stage: a contender that runs, and its devices ─▶ peer: what the bench needs of a server
   └─▶ results ─▶ tables, targets, plots ─▶ docs/explanation/performance.md
"""
