"""Input: scenes and labels from files and catalogs, read in windows on one grid."""
