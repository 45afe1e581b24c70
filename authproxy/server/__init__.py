"""The process around the chain: TLS, sockets, signals, and the worker that serves."""
