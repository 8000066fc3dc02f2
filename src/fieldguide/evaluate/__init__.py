"""From answers to numbers: metrics with intervals, paired tests between contestants, and one sentence that sums them up."""
