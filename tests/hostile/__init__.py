"""Attacks: raw bytes that no honest client sends, against a running server with a strict recording backend behind it."""
