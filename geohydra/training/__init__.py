"""From chips to a trained network."""
