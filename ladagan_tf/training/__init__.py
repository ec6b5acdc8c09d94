"""What happens in one step, and around it."""
