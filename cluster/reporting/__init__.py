"""What the ledger's joules and grams come to: for people, for spreadsheets, and for the HTTP API."""
