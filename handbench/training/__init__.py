"""From batches to a trained run: recipes, the loop, teams of processes, sweeps."""
