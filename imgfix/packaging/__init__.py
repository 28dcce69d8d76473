"""Packages as their files and databases describe them: versions, dependencies, what fits together. Pure."""
