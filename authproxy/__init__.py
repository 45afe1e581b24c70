"""authproxy: an authenticating security proxy.

The floors, bottom to top: model, policy, config, state, then authn, rate_limits, upstream and telemetry
side by side, then runtime, web, server, cli. Imports only go down; ARCHITECTURE.md says why.
"""

__version__ = "0.1.0"
