"""Recipes for real test disks, built from Debian's packages without loop devices.

`scripts/make-test-disk NAME OUT` runs this package. One module is one recipe; `trees/NAME` holds the text files
that the recipe lays over the bootstrapped root. To add a disk: write the module, add a row to `recipes.RECIPES`.
"""
