"""From conf/ and words to plain, checked configs: the one place, with the plug-ins, that knows Hydra."""
