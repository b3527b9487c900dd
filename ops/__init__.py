"""What the operator runs on the workstation."""
