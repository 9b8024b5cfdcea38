"""The routes: HTTP in, `read` and `act` behind, HTTP out.

What belongs here: bodies and their checks, status codes, descriptions for OpenAPI. Nothing is
decided here and nothing is worded here.
"""
