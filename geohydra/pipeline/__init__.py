"""From a plan to what runs it: here, in containers, or on a cluster."""
