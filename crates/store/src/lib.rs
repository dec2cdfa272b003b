//! The log and what hangs on it, durable. The only SQL.
//!
//! What a store promises, in domain words; each sentence is a test of `tests/it`, tried on both
//! engines where it means something on both:
//!
//! - Positions are gapless from 1, and there is one order.
//! - A batch is written whole or not at all, with everything beside it.
//! - What was confirmed is there after a crash.
//! - When a commit's outcome is unknown, it is settled before anybody is told.
//! - What became of a command that may be sent again is known exactly as long as its row is there,
//!   for a day.
//! - A second process cannot write to the same file.
//! - What is read was written by this log: every leaf and root recomputes.
//! - Readers never wait for the writer, and never see half a batch.

mod again;
mod calls;
mod checkpoint;
mod codec;
mod copy;
mod erasure;
mod export;
mod export_check;
mod farewell;
mod follow;
mod inspect;
pub mod leaf;
mod lease;
mod log;
mod mails;
pub mod merkle;
mod nodes;
pub mod note;
mod notices;
mod outbox;
pub mod postgres;
mod read;
mod sqlite;
mod tree;
mod verify;
mod words;

pub use again::{Key, Known, REMEMBERED_MS, Remembered};
pub use calls::{CallMinute, CallRecord, Calls, CallsReader, SEGMENT, Segment, StoredCounts};
pub use checkpoint::{Checkpoints, Kept};
pub use codec::{CodecError, Stored, decode, encode, pack, unpack};
pub use copy::{Copied, copy, copy_to_restore};
pub use export::{ExportError, Exported, export};
pub use export_check::{BadLine, ExportVerdict, Pinned, verify_export};
pub use farewell::Farewell;
pub use follow::{Followed, follow};
pub use inspect::{Inspection, inspect};
pub use leaf::{Part, leaf_hash, part_hash, reader_tag, word_commitment};
pub use lease::{LeaseRow, NodeId, Renewed};
pub use log::{AppendError, Head, Place, Store, StoreError};
pub use mails::{MailAttempt, MailCounts, MailShown, Mails, WaitingMail};
pub use merkle::{Edge, Hash};
pub use notices::{Inbox, Noticed};
pub use outbox::{Attempt, Delivery, Outbox, OutboxCounts, Status, Waiting};
pub use read::{HistoryPage, HistoryQuery, HistoryRow, HistorySide, Reader};
pub use tree::Tree;
pub use verify::{Finding, Verdict, intact, verify};
