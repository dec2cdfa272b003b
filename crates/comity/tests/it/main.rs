//! The binary as others meet it: its commands, the README's tour, a crash, its documents.

mod binary;
mod canary;
mod carry;
mod doctor;
mod documents;
mod guard;
mod kill;
mod metrics;
mod process;
mod stopping;
mod tour;
