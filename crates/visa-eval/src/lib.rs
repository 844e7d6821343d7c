//! Evaluation suites: metrics with baselines, sample sizes and intervals
