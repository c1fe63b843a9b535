"""The commands about settlements, and the work that goes on after they are answered."""
