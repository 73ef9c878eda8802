"""From a pipeline document to a finished run folder; opening and checking such folders."""
