"""What networks cost: parameters, multiply-adds, memory, and speed on this machine."""
