"""The way to the backends: send a head, iterate a body.

Here live our own connections, their pool, and where a backend's message ends. A backend is believed in nothing:
what is not beyond doubt is `upstream_invalid`, and its connection is never used again.
aiohttp never comes in, nor who may pass: that was decided before.
"""
