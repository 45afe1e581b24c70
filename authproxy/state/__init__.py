"""What workers share and what outlives a request: counters behind one interface, in LMDB or in memory."""
