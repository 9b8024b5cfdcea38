"""Migrations of the control tables: registry, states, history, and what came later."""
