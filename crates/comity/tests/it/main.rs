//! The binary as others meet it: its commands, the README's tour, a crash, its documents.

mod binary;
mod documents;
mod kill;
mod process;
mod tour;
