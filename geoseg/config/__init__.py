"""The YAML documents: closed pydantic models, and a loader whose errors name file, line and column."""
