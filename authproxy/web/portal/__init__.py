"""Our own pages, below `/.authproxy/`: login, logout, who am I. Server-rendered, without scripts, never forwarded.

They are the only place where sessions begin and end; proxied requests only read them.
"""
