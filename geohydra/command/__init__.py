"""What the verbs share: words, composing jobs into a plan, performing it, and what is printed."""
