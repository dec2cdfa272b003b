//! OpenID Shared Signals Framework 1.0, as transmitter: an application's own stream of signed events,
//! by which it hears that sessions for it were ended (CAEP 1.0, `session-revoked`).
//!
//! The receiver is an application by its key for decide, as where it asks decisions. It has one stream
//! and no other is there for it. Receivers of other makers send what they have: members that no rule
//! here reads are passed over, as the framework wants it.

use std::sync::Arc;

use comity_app::App;
use comity_domain::ids::{ApplicationId, StreamId};
use comity_domain::state::State as World;
use comity_domain::stream::{Stream, StreamStanding};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::problem::Problem;

pub mod metadata;
pub mod poll;
pub mod status;
pub mod streams;

/// Delivery by push.
const PUSH: &str = "urn:ietf:rfc:8935";
/// Delivery by poll.
const POLL: &str = "urn:ietf:rfc:8936";

/// Which stream.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Named {
    /// The stream.
    #[param(example = "strm_01kf4e9ab7c3x8m2v5r6t0w1yz")]
    stream_id: String,
}

/// Whether a stream is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = StreamStatusWord)]
pub enum Standing {
    /// It is.
    Enabled,
    /// What happens is kept for it, for seven days.
    Paused,
    /// What happens is not told, then or later.
    Disabled,
}

impl From<StreamStanding> for Standing {
    fn from(standing: StreamStanding) -> Self {
        match standing {
            StreamStanding::Enabled => Self::Enabled,
            StreamStanding::Paused => Self::Paused,
            StreamStanding::Disabled => Self::Disabled,
        }
    }
}

impl From<Standing> for StreamStanding {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Enabled => Self::Enabled,
            Standing::Paused => Self::Paused,
            Standing::Disabled => Self::Disabled,
        }
    }
}

/// What cannot be a stream's name is not there.
fn named(text: &str) -> Result<StreamId, Problem> {
    text.parse().map_err(|_| Problem::not_found())
}

/// A stream of this application; another's is not there.
fn own(world: &World, of: ApplicationId, id: StreamId) -> Result<&Stream, Problem> {
    let known = world.streams.get(id).filter(|s| s.application == of);
    known.ok_or_else(Problem::not_found)
}

/// Where a route of ours is.
fn at(app: &Arc<App>, path: &str) -> String {
    format!("{}{path}", app.issuer())
}
