"""How sessions end: every manner of closing, for both sides, process models, addresses and networks.

What happens is told to actors step by step (tests/support/actor.py).
"""
