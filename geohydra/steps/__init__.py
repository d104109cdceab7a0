"""The verbs of a run, one module each: `VERSION` and `run(config, work)`."""
