"""Where aiohttp.web lives: the layers of a request, in the one order that `chain.py` says.

A layer reads and writes the Exchange and raises a Refusal; only the envelope turns a Refusal into an answer.
"""
