//! How people sign in: [`passwords`]; [`codes`] of an app and recovery codes; [`passkeys`];
//! [`tries`]: how often a code may be guessed.

pub mod codes;
pub mod passkeys;
pub mod passwords;
pub mod tries;
