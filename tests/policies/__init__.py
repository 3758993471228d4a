"""Pure tests of the policies: models, rendering, checks."""
