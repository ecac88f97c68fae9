"""The configuration, one module per part; empty, so that a job depends on the parts that it reads alone."""
