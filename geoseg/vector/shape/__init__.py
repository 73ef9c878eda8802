"""What changes the shapes of a map: small regions, objects, generalised boundaries."""
