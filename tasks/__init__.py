"""What can be asked of imagery: one file a task type."""
