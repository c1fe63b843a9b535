"""What posting groups read and record."""
