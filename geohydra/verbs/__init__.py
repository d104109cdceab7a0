"""What the command line can do: one module a verb, each with `main(words)`."""
