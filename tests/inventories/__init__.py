"""Pure tests of inventories: merging, errors, the examples."""
