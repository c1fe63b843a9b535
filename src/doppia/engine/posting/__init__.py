"""The machinery of writing: commands, groups, and the books they are decided upon."""
