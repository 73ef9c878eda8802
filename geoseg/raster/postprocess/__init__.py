"""Changes of a class map before anything is made from it: majority filter, closing, sieve."""
