//! A connection that holds its place only as long as its client reads (T45).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use comity_app::clock::boot_millis;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// How many bytes a second make up for the time in which nothing could be written.
pub const LEAST_RATE: u64 = 1_024;

/// A stream that gives up on a client which keeps it from writing: for longer than `most` in all,
/// less the time that what it did read is worth at [`LEAST_RATE`].
#[derive(Debug)]
pub struct Paced {
    stream: TcpStream,
    most: Duration,
    /// For how long the client has kept us waiting and not made up for it.
    owed: Duration,
    /// Since when a write waits, in milliseconds of the boot clock.
    since: Option<i64>,
    /// Wakes when it has waited for long enough.
    end: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    /// With this much patience.
    pub fn new(stream: TcpStream, most: Duration) -> Self {
        Self { stream, most, owed: Duration::ZERO, since: None, end: None }
    }

    /// What a write came to: something, or a wait that may not go on for ever.
    fn judged(
        &mut self,
        context: &mut Context<'_>,
        wrote: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let now = boot_millis();
        match wrote {
            Poll::Ready(result) => {
                if let Some(since) = self.since.take() {
                    self.owed = self.owed.saturating_add(span(since, now));
                }
                self.end = None;
                if let Ok(bytes) = result {
                    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
                    let worth = Duration::from_millis(bytes.saturating_mul(1_000) / LEAST_RATE);
                    self.owed = self.owed.saturating_sub(worth);
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                self.since.get_or_insert(now);
                let left = self.most.saturating_sub(self.owed);
                let end = self.end.get_or_insert_with(|| Box::pin(tokio::time::sleep(left)));
                ready!(end.as_mut().poll(context));
                Poll::Ready(Err(io::Error::from(io::ErrorKind::TimedOut)))
            }
        }
    }
}

fn span(since: i64, now: i64) -> Duration {
    Duration::from_millis(u64::try_from(now.saturating_sub(since)).unwrap_or(0))
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judged(context, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        all: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(context, all);
        self.judged(context, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
