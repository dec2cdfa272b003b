//! A connection on which no question stays open for ever.
//!
//! A server that takes what is sent and never answers, or a link that swallows it, would hold the
//! writer up without end, and with it every command and the stop of the process. Here each question
//! has a time within which it is answered; after that nothing on the connection is believed, and
//! what became of the question is unknown.

use std::future::Future;
use std::time::Duration;

use ::postgres::NoTls;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;
use tokio_postgres::{AsyncMessage, Client, Config, Connection};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connect::Warned;
use crate::log::StoreError;

/// How long an answer may take. A lock is waited for at most two seconds, so what takes longer is
/// broken, or waits for a standby that is not there.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

pub(super) struct Bounded {
    runtime: Runtime,
    client: Client,
    overdue: bool,
}

fn overdue() -> StoreError {
    StoreError::Place(format!("the database did not answer within {ANSWERED_WITHIN:?}"))
}

fn within<T, E: Into<StoreError>>(
    runtime: &Runtime,
    asked: impl Future<Output = Result<T, E>>,
) -> Result<T, StoreError> {
    let answer = runtime.block_on(async { tokio::time::timeout(ANSWERED_WITHIN, asked).await });
    answer.map_err(|_| overdue())?.map_err(Into::into)
}

/// Reads what comes in, and hears the warnings in their order.
async fn drive<S, T>(mut connection: Connection<S, T>, heard: Warned)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
        if let AsyncMessage::Notice(notice) = message {
            heard.hear(&notice);
        }
    }
}

impl Bounded {
    pub fn open(
        config: &Config,
        tls: Option<&MakeRustlsConnect>,
        warned: &Warned,
    ) -> Result<Self, StoreError> {
        let io = |source| StoreError::Io { path: "a connection's runtime".into(), source };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(io)?;
        let client = match tls {
            Some(tls) => {
                let (client, connection) = within(&runtime, config.connect(tls.clone()))?;
                runtime.spawn(drive(connection, warned.clone()));
                client
            }
            None => {
                let (client, connection) = within(&runtime, config.connect(NoTls))?;
                runtime.spawn(drive(connection, warned.clone()));
                client
            }
        };
        Ok(Self { runtime, client, overdue: false })
    }

    /// Asks, unless something was left unanswered here before.
    pub fn ask<'c, T, F>(&'c mut self, ask: impl FnOnce(&'c Client) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>>,
    {
        if self.overdue {
            return Err(overdue());
        }
        let answer = self
            .runtime
            .block_on(async { tokio::time::timeout(ANSWERED_WITHIN, ask(&self.client)).await });
        match answer {
            Ok(answer) => Ok(answer?),
            Err(_) => {
                self.overdue = true;
                Err(overdue())
            }
        }
    }

    pub fn is_closed(&self) -> bool {
        self.overdue || self.client.is_closed()
    }
}
