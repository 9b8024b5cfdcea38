"""Figures worked out elsewhere, which every implementation of the same sum is held to."""

# (healthy rate, failures, calls, evidence that more than 5 % fail), six alternatives
EVIDENCE = [
    (0.02, 3, 3, 16202.333333333336),
    (0.02, 1, 1, 10.5833333333333),
    (0.02, 2, 2, 381.791666666667),
    (0.02, 6, 100, 1.529653720545886),
    (0.02, 10, 100, 440.0994784630489),
    (0.02, 5, 20, 644.4539816363138),
    (0.02, 0, 100, 0.0037369368232821817),
    (0.0075, 3, 3, 307244.2469135802),
    (0.0075, 6, 100, 167.1045153577720),
]
