//! Where the limits of [`comity_app::limits`] meet HTTP: which lane a route is in, and the middleware
//! that puts the limits and the client's address beside each request of either door.

mod address;

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::Method;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use comity_app::App;
pub(crate) use comity_app::limits::{Beside, TooOften, key as address_key};
use comity_app::limits::{From, Lane, nowhere};
pub use comity_app::limits::{Limits, Network, NoNetwork, NoRate, Proxies, Rate, Said, Settings};
use comity_domain::command::Caller;
use comity_domain::ids::{OrganisationId, PersonId};
use comity_domain::state::State as World;

pub use address::Peer;

use crate::input;
use crate::problem::Problem;

/// What ends access, or shuts a door: the commands that the writer takes first, and denials.
const ENDINGS: [(Method, &str); 16] = [
    (Method::DELETE, "/v1/platform/keys/{key}"),
    (Method::PUT, "/v1/organisations/{organisation}/standing"),
    (Method::DELETE, "/v1/organisations/{organisation}/accounts/{id}"),
    (Method::DELETE, "/v1/organisations/{organisation}/roles/{id}"),
    (Method::DELETE, "/v1/organisations/{organisation}/members/{id}"),
    (Method::POST, "/v1/organisations/{organisation}/members/{id}/reset-factors"),
    (Method::POST, "/v1/organisations/{organisation}/members/{id}/access/end"),
    (Method::DELETE, "/v1/me/sign-ins/{sign_in}"),
    (Method::POST, "/v1/sign-out"),
    (Method::POST, "/v1/organisations/{organisation}/locks"),
    (Method::POST, "/v1/requests/{request}/deny"),
    (Method::POST, "/v1/grants/{grant}/revoke"),
    (Method::POST, "/v1/grants/{grant}/narrow"),
    (Method::POST, "/v1/grants/{grant}/give-up"),
    (Method::POST, "/v1/sessions/{session}/close"),
    (Method::POST, "/v1/sessions/{session}/end"),
];
/// Also an ending: a person taken off a grant.
const UNASSIGN: &str = "/v1/grants/{grant}/assignments/{person}";
/// Where AuthZEN's questions stand.
const DECISIONS: &str = "/access/v1/";
const OF_ORGANISATION: &str = "/v1/organisations/{organisation}";

fn lane(method: &Method, route: &str) -> Lane {
    let ends = ENDINGS.iter().any(|(m, path)| m == method && *path == route);
    if ends || (method == Method::DELETE && route == UNASSIGN) {
        Lane::End
    } else if route.starts_with(DECISIONS) {
        Lane::Decide
    } else if matches!(*method, Method::GET | Method::HEAD) {
        Lane::Read
    } else {
        Lane::Write
    }
}

/// Counts somebody whose secret is in force.
pub(crate) fn caller(
    beside: &Beside,
    app: &App,
    caller: &Caller,
    parts: &Parts,
) -> Result<(), TooOften> {
    let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let home = |person| home(&app.state(), person, route, parts.uri.path());
    beside.limits.caller(caller, lane(&parts.method, route), home)
}

/// The organisation for which a person calls: the one in the path, if it is one of theirs, or else
/// their first. Naming another's takes nothing from it.
fn home(state: &World, person: PersonId, route: &str, path: &str) -> Option<OrganisationId> {
    let named = route.starts_with(OF_ORGANISATION).then(|| path.split('/').nth(3)).flatten();
    let named = named.and_then(|name| input::organisation(state, name).ok());
    named
        .filter(|organisation| state.members.contains_key(&(*organisation, person)))
        .or_else(|| state.organisations_of(person).next())
}

/// The limits and where the request comes from, as the middleware put them beside it.
#[derive(Debug, Clone)]
pub(crate) struct Counted(pub Beside);

impl Counted {
    /// What stands beside a request; `None` outside of the router.
    pub fn beside(parts: &Parts) -> Option<&Beside> {
        parts.extensions.get::<Beside>()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Counted {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let beside = Self::beside(parts).cloned();
        beside.map(Self).ok_or_else(|| {
            comity_app::Failure::Broken("a route stands outside of the limits".into()).into()
        })
    }
}

/// Puts the limits and the client's address beside each request.
pub(crate) async fn count(
    State(limits): State<Arc<Limits>>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Peer>().map(|Peer(peer)| peer.ip());
    let proxies = limits.proxies();
    let from = peer.map(|peer| address::client(proxies, peer, request.headers()));
    let from = From(from.unwrap_or_else(nowhere));
    request.extensions_mut().insert(Beside { limits, from });
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t46_every_ending_is_a_route_and_no_other_lane_takes_it() {
        let table = include_str!("../routes.rs");
        for (method, path) in ENDINGS.iter().chain([&(Method::DELETE, UNASSIGN)]) {
            let line = table.lines().find(|l| l.contains(&format!(".route(\"{path}\",")));
            let line = line.unwrap_or_else(|| panic!("{path} is no route"));
            assert!(
                line.contains(&format!("{}(", method.as_str().to_lowercase())),
                "{method} {path}"
            );
            assert_eq!(lane(method, path), Lane::End);
        }
        assert_eq!(lane(&Method::PUT, UNASSIGN), Lane::Write);
        assert_eq!(lane(&Method::GET, "/v1/grants/{grant}"), Lane::Read);
        assert_eq!(lane(&Method::POST, "/access/v1/evaluation"), Lane::Decide);
    }
}
