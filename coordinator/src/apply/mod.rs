//! Applying: the differences between what a plan wants and what was observed.
