"""How much of what is allowed a caller has used: three strategies, and a ledger that charges several limits at once."""
