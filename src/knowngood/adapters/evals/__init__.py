"""Results of suites in the forms of other tools, one file each.

A reader turns a file's bytes into `core.evaluation.Results` or raises BadEvaluation; it trusts
nothing in the file and reads nothing else. It runs where the file is: on the user's machine.
"""
