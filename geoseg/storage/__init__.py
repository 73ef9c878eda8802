"""Where bundles, staging and outputs live: folders and object stores behind one small interface."""
