"""Who is calling: credentials in, an Identity or a Refusal out.

Bytes and header values are handed in; no file is opened, no response is written and no clock is read here.
Nothing of a credential, and no library's text, ever reaches a caller or a log.
"""
