"""How prices follow spend: one protocol, three strategies, compared in tests/bench/price.py."""
