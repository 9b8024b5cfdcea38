"""Migrations of the control tables: registry, states, log, outbox, policies, evaluations."""
