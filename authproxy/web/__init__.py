"""Where aiohttp.web lives: the steps of a request, in the one order that `chain.py` says.

A step reads and writes the Exchange and raises a Refusal; only the envelope turns a Refusal into an answer.
"""
