//! `/.well-known/ssf-configuration`: where the transmitter has what (SSF 1.0, section 7.1).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use comity_app::App;
use serde::Serialize;
use utoipa::ToSchema;

use super::{POLL, PUSH, at};

/// Where this transmitter has what.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TransmitterConfiguration)]
pub struct Configuration {
    /// The version of the framework.
    #[schema(example = "1_0")]
    spec_version: &'static str,
    /// Who signs: `iss` of every token.
    #[schema(example = "https://comity.example")]
    issuer: String,
    /// The keys that it signs with.
    jwks_uri: String,
    /// By push (RFC 8935) and by poll (RFC 8936).
    #[schema(value_type = Vec<String>)]
    delivery_methods_supported: [&'static str; 2],
    /// Makes, reads, changes and deletes a stream.
    configuration_endpoint: String,
    /// Turns it on and off.
    status_endpoint: String,
    /// Has it told that this is a verification.
    verification_endpoint: String,
    /// What of a subject must be understood: an event is about this one session, and not about
    /// everything of its user.
    #[schema(value_type = Vec<String>)]
    critical_subject_members: [&'static str; 1],
    /// How an application shows who it is.
    #[schema(value_type = Vec<Scheme>)]
    authorization_schemes: [Scheme; 2],
    /// `ALL`: every session for the application, without being asked for one by one.
    default_subjects: &'static str,
}

/// A way to show who one is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuthorizationScheme)]
pub struct Scheme {
    /// Bearer (RFC 6750) or Basic (RFC 7617).
    spec_urn: &'static str,
}

/// Tells receivers where to ask.
#[utoipa::path(
    get, path = "/.well-known/ssf-configuration", tag = "Standards", security(), operation_id = "ssfConfiguration",
    summary = "Where event streams are kept",
    description = "Metadata of the transmitter (OpenID Shared Signals Framework 1.0).",
    responses((status = 200, description = "The metadata", body = Configuration))
)]
pub async fn configuration(State(app): State<Arc<App>>) -> Json<Configuration> {
    let scheme = |spec_urn| Scheme { spec_urn };
    Json(Configuration {
        spec_version: "1_0",
        issuer: app.issuer().to_owned(),
        jwks_uri: at(&app, "/oauth/jwks"),
        delivery_methods_supported: [PUSH, POLL],
        configuration_endpoint: at(&app, "/ssf/stream"),
        status_endpoint: at(&app, "/ssf/status"),
        verification_endpoint: at(&app, "/ssf/verify"),
        critical_subject_members: ["session"],
        authorization_schemes: ["urn:ietf:rfc:6750", "urn:ietf:rfc:7617"].map(scheme),
        default_subjects: "ALL",
    })
}
