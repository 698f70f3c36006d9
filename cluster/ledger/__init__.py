"""The durable account of joules and grams: one SQLite file, one writer, any number of readers."""
