"""A model of cost for many nodes: the cost of each operation, measured, and the needs of a workload, computed.

`workload` is what users do, `costs` are the measured ones, `model` multiplies the two, `sizing`
turns the sum into nodes and shards, `wave` is the return of clients, `money` the bill, `ceilings` the order in which
things break. All of them are pure. `calibrate` measures, and `check` compares the model with real nodes.
"""
