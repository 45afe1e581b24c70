"""The commands: one file a command group. They talk to people; what they know they ask the floors below.

Heavy imports happen inside the commands, so that `authproxy --help` is quick.
"""
