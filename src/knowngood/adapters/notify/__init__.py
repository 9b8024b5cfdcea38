"""Ways to reach people, one file each.

A notifier answers `Delivered`, `Retry` or `Rejected` and never raises for what a provider says:
whether and when to try again is the engine's business.
"""
