"""A small shop that takes payments and asks a fraud model about each."""
