//! English inflection by rule, for the base-form verb phrases of the data files.
