"""The words: pure values that every floor above speaks with.

No I/O, no clock, no asyncio, no logging: what needs the time is given it.
"""
