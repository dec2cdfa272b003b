//! An import on its way: lines in, commands to the writer, answers back.
//!
//! So many commands are with the writer at once that they share commits, and so few that a batch
//! of them holds it for milliseconds only; endings go before them anyway. Commands are handed over
//! in the order of the lines. An organisation that is not there yet is waited for by its own lines
//! and by no others.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use comity_app::clock::stopwatch;
use comity_app::node::{Answer, NotDone};
use comity_app::{App, Failure};
use comity_domain::command::Caller;
use comity_domain::refusal::Refusal;
use comity_domain::text::Lookup;
use tokio_stream::StreamExt as _;

use super::{Import, Line, Standing};
use crate::problem::Problem;
use crate::shown;

/// How many commands are with the writer, or wait for their organisation.
const WINDOW: usize = 128;
/// How much one import may be, in bytes.
const MOST: u64 = 64 * 1024 * 1024;
/// How long a line may be, in bytes.
const MOST_LINE: usize = 64 * 1024;
/// How long nothing may come.
const CHUNK_WITHIN: Duration = Duration::from_secs(10);
/// The slowest that a client may send on the whole, in bytes a second of the time that we wait for
/// it, once it had [`SLOW_AT_FIRST`] (T45).
const SLOWEST: u64 = 1_024;
/// How long a client may be as slow as it likes.
const SLOW_AT_FIRST: Duration = Duration::from_secs(30);

/// Why an import breaks off.
type Stop = Problem;
type Flight<'a> = (u64, Option<String>, Pin<Box<dyn Future<Output = Answer> + Send + 'a>>);

/// Reads lines from the body until it ends or something breaks off.
///
/// # Errors
/// Why it broke off.
pub async fn run(app: &App, caller: &Caller, body: Body, import: &Import) -> Result<(), Stop> {
    let (flights, making) = (VecDeque::new(), HashMap::new());
    let mut going = Going { app, caller, import, flights, making, held: 0, over: false };
    let mut result = going.read(body).await;
    // What was read is done, whatever became of the client.
    while !going.flights.is_empty() {
        result = result.and(going.land().await);
    }
    let ended = shown::time(app.now());
    import.note(|shown| {
        shown.state = if result.is_ok() { Standing::Finished } else { Standing::Stopped };
        shown.stopped = result.as_ref().err().map(Problem::code);
        shown.ended_at = Some(ended);
    });
    result
}

struct Going<'a> {
    app: &'a App,
    caller: &'a Caller,
    import: &'a Import,
    /// With the writer, in the order of the lines, and which organisation each of them makes.
    flights: VecDeque<Flight<'a>>,
    /// Lines that wait for an organisation that is being made.
    making: HashMap<String, VecDeque<(u64, Line)>>,
    /// How many those are.
    held: usize,
    /// The writer takes nothing more from this caller, or nothing at all.
    over: bool,
}

fn stopped(status: StatusCode, code: &'static str, why: &str) -> Stop {
    let detail = format!("The import broke off: {why}. What was done stands; send it again.");
    Problem::new(status, code, detail)
}

impl Going<'_> {
    async fn read(&mut self, body: Body) -> Result<(), Stop> {
        let app = self.app;
        let mut chunks = body.into_data_stream();
        let (mut number, mut size) = (0, 0u64);
        let mut waited = Duration::ZERO;
        let mut begun: Vec<u8> = Vec::new();
        let mut too_long = false;
        loop {
            let watch = stopwatch();
            let flying = !self.flights.is_empty();
            let next = tokio::select! {
                next = tokio::time::timeout(CHUNK_WITHIN, chunks.next()) => Some(next),
                answer = self.oldest(), if flying => {
                    self.landed(answer)?;
                    None
                }
                () = app.stopping() => {
                    let status = StatusCode::SERVICE_UNAVAILABLE;
                    return Err(stopped(status, "unavailable", "this node stops"));
                }
            };
            waited += watch();
            let Some(next) = next else {
                continue;
            };
            let slow = || stopped(StatusCode::REQUEST_TIMEOUT, "too_slow", "it came too slowly");
            let chunk = match next.map_err(|_| slow())? {
                None => break,
                Some(Err(_)) => {
                    let status = StatusCode::BAD_REQUEST;
                    return Err(stopped(status, "bad_request", "the body could not be read"));
                }
                Some(Ok(chunk)) => chunk,
            };
            size = size.saturating_add(chunk.len() as u64);
            if size > MOST {
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                return Err(stopped(status, "too_large", "it may have at most 64 MiB"));
            }
            if waited > SLOW_AT_FIRST && size / SLOWEST < waited.as_secs() {
                return Err(slow());
            }
            self.split(&chunk, &mut begun, &mut number, &mut too_long).await?;
        }
        if !begun.is_empty() || too_long {
            number += 1;
            self.line(number, &begun, too_long).await?;
        }
        Ok(())
    }

    /// Takes the lines that end in a chunk and keeps the beginning of the next.
    async fn split(
        &mut self,
        chunk: &Bytes,
        begun: &mut Vec<u8>,
        number: &mut u64,
        too_long: &mut bool,
    ) -> Result<(), Stop> {
        let mut pieces = chunk.split(|b| *b == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            *too_long |= begun.len() + piece.len() > MOST_LINE;
            if *too_long {
                begun.clear();
            } else {
                begun.extend_from_slice(piece);
            }
            if pieces.peek().is_some() {
                *number += 1;
                self.line(*number, begun, *too_long).await?;
                begun.clear();
                *too_long = false;
            }
        }
        Ok(())
    }

    async fn line(&mut self, number: u64, bytes: &[u8], too_long: bool) -> Result<(), Stop> {
        let bytes = bytes.trim_ascii();
        if bytes.is_empty() && !too_long {
            return Ok(());
        }
        while self.flights.len() + self.held >= WINDOW {
            self.land().await?;
        }
        self.import.note(|shown| shown.lines += 1);
        if too_long {
            let why = "The line has more than 64 KiB.";
            let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", why);
            self.import.refuse(number, &problem);
            return Ok(());
        }
        match Line::read(bytes) {
            Ok(line) => self.place(number, line),
            Err(problem) => self.import.refuse(number, &problem),
        }
        Ok(())
    }

    /// Behind its organisation, or to the writer.
    fn place(&mut self, number: u64, line: Line) {
        if let Some(waiting) = self.making.get_mut(line.organisation()) {
            waiting.push_back((number, line));
            self.held += 1;
            return;
        }
        let named = line.organisation().to_owned();
        let is_new = || self.app.state().words.find(Lookup::Organisation, &named).is_none();
        let makes = (line.makes_organisation() && is_new()).then(|| named.clone());
        match line.command(self.app) {
            Ok(command) => {
                let answer = self.app.node().hand_in(self.caller.clone(), command);
                if let Some(named) = &makes {
                    self.making.insert(named.clone(), VecDeque::new());
                }
                self.flights.push_back((number, makes, Box::pin(answer)));
            }
            Err(problem) => self.import.refuse(number, &problem),
        }
    }

    /// What became of the oldest; nothing is lost if nobody waits to the end.
    async fn oldest(&mut self) -> Option<Answer> {
        match self.flights.front_mut() {
            Some((.., answer)) => Some(answer.as_mut().await),
            None => None,
        }
    }

    async fn land(&mut self) -> Result<(), Stop> {
        let answer = self.oldest().await;
        self.landed(answer)
    }

    /// The oldest has its answer: what waited for it is sent, unless it is over.
    fn landed(&mut self, answer: Option<Answer>) -> Result<(), Stop> {
        let (Some((number, made, _)), Some(answer)) = (self.flights.pop_front(), answer) else {
            return Ok(());
        };
        let judged = self.judge(number, answer);
        self.over |= judged.is_err();
        let waiting = made.and_then(|made| self.making.remove(&made)).unwrap_or_default();
        self.held -= waiting.len();
        if !self.over {
            for (number, line) in waiting {
                self.place(number, line);
            }
        }
        judged
    }

    fn judge(&self, number: u64, answer: Answer) -> Result<(), Stop> {
        match answer {
            Ok(done) if done.row.is_some() => self.import.note(|shown| shown.done += 1),
            Ok(_) => self.import.note(|shown| shown.unchanged += 1),
            // The key was withdrawn meanwhile: nothing more is taken from it.
            Err(NotDone::Refused(refusal @ Refusal::CallerRevoked)) => return Err(refusal.into()),
            Err(NotDone::Refused(refusal)) => self.import.refuse(number, &refusal.into()),
            Err(other) => return Err(Failure::from(other).into()),
        }
        Ok(())
    }
}
