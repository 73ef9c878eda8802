"""Scenes in: files, catalogs and labels, read in windows on one grid."""
