"""Places of bundles, staging and outputs: folders and object stores behind one small interface."""
