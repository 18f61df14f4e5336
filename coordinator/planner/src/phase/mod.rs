//! The phases of a round, one file each. Every phase is a function that changes a draft.

pub(crate) mod drain;
pub(crate) mod forget;
pub(crate) mod place;
pub(crate) mod relieve;
pub(crate) mod scale;
pub(crate) mod settle;
