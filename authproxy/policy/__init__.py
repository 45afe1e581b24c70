"""The law: policy files as documents, routes as a table, conditions, and the one decision function.

Pure: no I/O, no clock; what is decided depends on the arguments alone, so `explain`, `policy test` and the server agree.
"""
