//! One round: look, plan, apply, publish.
