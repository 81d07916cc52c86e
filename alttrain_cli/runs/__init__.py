"""The trained runs of this machine: what they are, how they compare, what of them can be deleted."""
