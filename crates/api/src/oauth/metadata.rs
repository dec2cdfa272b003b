//! What is where, for programs: RFC 8414 of the server, RFC 9728 of the API, RFC 7517 of the keys.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use comity_app::App;
use serde::Serialize;
use utoipa::ToSchema;

use super::exchange::EXCHANGE;

/// How applications prove themselves.
const PROOFS: [&str; 3] = ["client_secret_basic", "client_secret_post", "private_key_jwt"];
/// Where nothing has to be shown, too.
const OR_NONE: [&str; 4] = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"];
const ES256: [&str; 1] = ["ES256"];

/// Where the API's own metadata are, below the issuer.
const RESOURCE: &str = "/.well-known/oauth-protected-resource";

/// Metadata of the server (RFC 8414, section 2).
#[derive(Serialize, ToSchema)]
#[schema(as = ServerMetadata)]
pub struct Server {
    /// The installation's address, as tokens name it.
    issuer: String,
    /// Where tokens are exchanged.
    token_endpoint: String,
    /// Where the public keys are.
    jwks_uri: String,
    /// Where to ask about a token.
    introspection_endpoint: String,
    /// Where to give a token back.
    revocation_endpoint: String,
    /// Required by the RFC, and there is no authorization endpoint: nothing is answered by it.
    #[schema(value_type = Vec<String>)]
    response_types_supported: [&'static str; 1],
    /// Token exchange only.
    #[schema(value_type = Vec<String>)]
    grant_types_supported: [&'static str; 1],
    /// How an application proves itself there.
    #[schema(value_type = Vec<String>)]
    token_endpoint_auth_methods_supported: [&'static str; 4],
    /// How its statement is signed.
    #[schema(value_type = Vec<String>)]
    token_endpoint_auth_signing_alg_values_supported: [&'static str; 1],
    /// How an application proves itself there.
    #[schema(value_type = Vec<String>)]
    introspection_endpoint_auth_methods_supported: [&'static str; 3],
    /// How its statement is signed.
    #[schema(value_type = Vec<String>)]
    introspection_endpoint_auth_signing_alg_values_supported: [&'static str; 1],
    /// How an application proves itself there.
    #[schema(value_type = Vec<String>)]
    revocation_endpoint_auth_methods_supported: [&'static str; 4],
    /// How its statement is signed.
    #[schema(value_type = Vec<String>)]
    revocation_endpoint_auth_signing_alg_values_supported: [&'static str; 1],
    /// The API itself.
    #[schema(value_type = Vec<String>)]
    protected_resources: [String; 1],
}

/// Metadata of the server (RFC 8414).
///
/// Who may: anybody.
#[utoipa::path(get, path = "/.well-known/oauth-authorization-server", operation_id = "getServerMetadata", tag = "Standards", security(),
    responses((status = 200, description = "Which routes there are, and what they take.", body = Server)))]
pub async fn server(State(app): State<Arc<App>>) -> Json<Server> {
    let at = |path: &str| format!("{}{path}", app.issuer());
    Json(Server {
        issuer: app.issuer().to_owned(),
        token_endpoint: at("/oauth/token"),
        jwks_uri: at("/oauth/jwks"),
        introspection_endpoint: at("/oauth/introspect"),
        revocation_endpoint: at("/oauth/revoke"),
        response_types_supported: ["none"],
        grant_types_supported: [EXCHANGE],
        token_endpoint_auth_methods_supported: OR_NONE,
        token_endpoint_auth_signing_alg_values_supported: ES256,
        introspection_endpoint_auth_methods_supported: PROOFS,
        introspection_endpoint_auth_signing_alg_values_supported: ES256,
        revocation_endpoint_auth_methods_supported: OR_NONE,
        revocation_endpoint_auth_signing_alg_values_supported: ES256,
        protected_resources: [app.issuer().to_owned()],
    })
}

/// Metadata of the API as a protected resource (RFC 9728, section 2).
#[derive(Serialize, ToSchema)]
#[schema(as = ResourceMetadata)]
pub struct Resource {
    /// The API, as tokens name it.
    resource: String,
    /// Who issues tokens for it.
    #[schema(value_type = Vec<String>)]
    authorization_servers: [String; 1],
    /// How a token is shown.
    #[schema(value_type = Vec<String>)]
    bearer_methods_supported: [&'static str; 1],
    /// For people.
    resource_name: &'static str,
}

/// Metadata of the API (RFC 9728).
///
/// Who may: anybody.
#[utoipa::path(get, path = "/.well-known/oauth-protected-resource", operation_id = "getResourceMetadata", tag = "Standards", security(),
    responses((status = 200, description = "How the API is to be called.", body = Resource)))]
pub async fn resource(State(app): State<Arc<App>>) -> Json<Resource> {
    Json(Resource {
        resource: app.issuer().to_owned(),
        authorization_servers: [app.issuer().to_owned()],
        bearer_methods_supported: ["header"],
        resource_name: "Comity",
    })
}

/// Whoever is told to show a token is told where to read how (RFC 9728, section 5.1).
pub async fn say_where(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let unauthorized = response.status() == StatusCode::UNAUTHORIZED;
    let bearer = response.headers().get(header::WWW_AUTHENTICATE).is_some_and(|v| v == "Bearer");
    let told = format!("Bearer resource_metadata=\"{}{RESOURCE}\"", app.issuer());
    if unauthorized
        && bearer
        && let Ok(told) = HeaderValue::from_str(&told)
    {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, told);
    }
    response
}

/// The public keys by which signed tokens are checked (RFC 7517, section 5).
#[derive(Serialize, ToSchema)]
pub struct Jwks {
    /// The key that signs, the one that will sign next, and those that signed within the last day.
    #[schema(value_type = Vec<ShownJwk>)]
    keys: Vec<comity_app::signing::Jwk>,
}

/// One key (RFC 7517, section 4).
#[derive(ToSchema)]
#[expect(dead_code, reason = "how a key is told")]
#[schema(as = Jwk)]
pub struct ShownJwk {
    /// `EC`.
    kty: String,
    /// `P-256`.
    crv: String,
    /// The first coordinate, in base64url.
    x: String,
    /// The second.
    y: String,
    /// `ES256`.
    alg: String,
    /// `sig`.
    #[schema(rename = "use")]
    usage: String,
    /// Its thumbprint (RFC 7638).
    kid: String,
}

/// The public keys (RFC 7517).
///
/// Who may: anybody. May be kept for five minutes: the next key stands here long before
/// it signs anything, and one of an unknown name is a reason to read it again.
#[utoipa::path(get, path = "/oauth/jwks", operation_id = "getKeys", tag = "Standards", security(),
    responses((status = 200, description = "The set.", body = Jwks)))]
pub async fn jwks(State(app): State<Arc<App>>) -> Response {
    let kept = [(header::CACHE_CONTROL, "public, max-age=300")];
    (kept, Json(Jwks { keys: app.jwks() })).into_response()
}
