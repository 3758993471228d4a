"""The acceptance suite: every check of every policy on every host of an inventory."""
