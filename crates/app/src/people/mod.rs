//! Sign-in.

pub mod passwords;
