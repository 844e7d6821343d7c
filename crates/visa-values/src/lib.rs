//! The value theory as data: values, categories, the circle, profiles, shifts, targets and metrics
