"""The registry of architectures, and the networks that geoseg implements itself."""
