//! What the planner promises, round by round.

mod fleet;
mod made_up;
mod properties;
