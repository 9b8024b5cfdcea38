"""Migrations of the observations: series, clients and late scores."""
