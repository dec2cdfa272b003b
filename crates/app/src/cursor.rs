//! Places in lists, as whoever pages through one carries them: with an authentication code over the
//! place, the asking organisation and the filter, so that one that was made for another question
//! opens nothing (T12).

use crate::app::App;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A cursor to go on after `place`, good only for the same `question`.
#[must_use]
pub fn write(app: &App, question: &str, place: &str) -> String {
    let code = app.keys().mac(format!("{question}\n{place}").as_bytes());
    format!("{place}.{}", hex(code.get(..16).unwrap_or_default()))
}

/// The place that a cursor stands for; `None` if it was not made for this question.
#[must_use]
pub fn read<'c>(app: &App, question: &str, cursor: &'c str) -> Option<&'c str> {
    let (place, _) = cursor.rsplit_once('.')?;
    // The cursor as it would be made here; equal texts mean equal codes.
    let made = write(app, question, place);
    let same = app.keys().mac(made.as_bytes()) == app.keys().mac(cursor.as_bytes());
    same.then_some(place)
}
