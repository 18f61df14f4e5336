//! What the planner promises, round by round.

mod drain;
mod fleet;
mod forget;
mod made_up;
mod place;
mod properties;
mod relieve;
mod restart;
mod scale;
mod scenarios;
mod settle;
