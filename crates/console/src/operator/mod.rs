//! The operator's pages: the installation's health, its organisations, and what Comity has halted.
//! Nothing of a tenant's content: no person, no request, no session (T47).

pub mod acts;
pub mod overview;
pub mod visit;
