"""How sessions end: every manner of closing, for both sides, process models, addresses and networks.

What happens is told to processes step by step (`hands.py`); `zygote.py`, `told.py` and `told_asyncio.py` run in them.
"""
