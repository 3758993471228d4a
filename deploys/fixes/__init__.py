"""Small guarded actions for on call: `pyinfra INVENTORY deploys/fixes/X.py --limit HOST --data why="..."`."""
