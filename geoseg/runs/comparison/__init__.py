"""Two finished runs against each other: where their classes differ."""
