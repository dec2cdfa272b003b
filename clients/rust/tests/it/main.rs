//! The client against servers that lie, stall and hang up; the real one meets it in the tests of
//! the binary.

mod ask;
mod verify;
mod webhook;
