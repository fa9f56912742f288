"""The benchmarks: `python -m bench`. See `bench/README.md` for what is measured, how, and how to read it.

__main__ ─▶ fanout, users, idle, handshakes, progress     one module per measurement, each gives figures
                ├─▶ server      a real `tellwire serve` on the first core
                ├─▶ baseline    a bare C send() loop on the same core
                └─▶ native      the load, in C, on the second core
figures ─▶ report               a table, a JSON file, a page
"""
