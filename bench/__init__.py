"""The benchmarks: `python -m bench`. `bench/README.md` describes the measurements and how to read them.

__main__ ─▶ fanout, users, idle, handshakes, progress     one module per measurement, each gives figures
                ├─▶ server      a real `tellwire serve` on the first core
                ├─▶ baseline    a bare C send() loop on the same core
                └─▶ native      the load, in C, on the second core
figures ─▶ report               a table, a JSON file, a Markdown page
"""
