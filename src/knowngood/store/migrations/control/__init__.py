"""Migrations of the control tables: registry, states, audit log, outbox and policies."""
