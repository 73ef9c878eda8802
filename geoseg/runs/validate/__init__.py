"""A finished run held to what it promises, from its files alone."""
