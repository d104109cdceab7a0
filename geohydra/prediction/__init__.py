"""A trained model over whole scenes, in bounded memory."""
