"""The camera loop beside its peers: each contestant in a process of its own, asked in turns over a line protocol."""
