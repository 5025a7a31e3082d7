"""A small real workload to repair: front → service → database (a process with a SQLite file), and a load generator."""
