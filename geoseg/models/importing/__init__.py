"""Take in networks that were trained elsewhere: a file -> a bundle whose answers were compared."""
