"""The registry of architectures, and the networks of our own."""
