"""Chips: where they are cut, for which split, how they are kept, and how a network gets them."""
