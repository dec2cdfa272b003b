//! Every route.

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{delete, get, post, put};
use axum::{Extension, Router};
use comity_app::App;

use crate::limits::Limits;
use crate::{
    access, again, amendments, authzen, auto, bulk, candidates, checkpoints, confirm, docs, doors,
    erasures, factors, feed, grants, halts, imports, input, invitations, levels, limits, locks, me,
    members, notices, oauth, observe, offers, openapi, organisations, platform, problem, requests,
    roles, sessions, settings, sign_in, signing_keys, ssf, staged, webhooks,
};

/// The largest body, in bytes.
pub const MOST_BODY: usize = 256 * 1024;

/// The table, with the limits that hold unless others are set.
pub fn router(app: Arc<App>) -> Router {
    limited_router(app, &limits::Settings::default())
}

/// The table, with these limits.
pub fn limited_router(app: Arc<App>, settings: &limits::Settings) -> Router {
    router_beside(app, settings, Router::new())
}

/// The table, and another door's beside it, under the same limits of addresses and the same watch.
#[rustfmt::skip]
pub fn router_beside(app: Arc<App>, settings: &limits::Settings, beside: Router) -> Router {
    let limits = Arc::new(Limits::new(settings, &app));
    Router::new()
        // is it there, and does it answer
        .route("/healthz", get(platform::health))
        .route("/readyz", get(platform::ready))
        // the operator: a key for operate
        .route("/v1/platform/applications", get(platform::applications))
        .route("/v1/platform/applications/{code}", put(platform::put_application))
        .route("/v1/platform/keys", get(platform::keys).post(platform::make_key))
        .route("/v1/platform/keys/{key}", delete(platform::retire_key))
        .route("/v1/platform/applications/{code}/client-keys", put(signing_keys::set_client_keys))
        .route("/v1/platform/signing-keys", get(signing_keys::list))
        .route("/v1/platform/signing-keys/rotate", post(signing_keys::rotate))
        .route("/v1/platform/signing-keys/{kid}/compromise", post(signing_keys::compromise))
        .route("/v1/platform/policy", get(platform::policy).put(platform::set_policy))
        .route("/v1/platform/levels", get(levels::levels))
        .route("/v1/platform/levels/{code}", put(levels::put_level))
        .route("/v1/platform/halts", get(halts::halts))
        .route("/v1/platform/halts/{halt}/lift", post(halts::lift_halt))
        .route("/v1/platform/webhooks", get(webhooks::platform::list).post(webhooks::platform::make))
        .route("/v1/platform/webhooks/{webhook}", get(webhooks::platform::one).put(webhooks::platform::change).delete(webhooks::platform::remove))
        .route("/v1/platform/webhooks/{webhook}/rotate", post(webhooks::platform::rotate))
        .route("/v1/platform/webhooks/{webhook}/test", post(webhooks::platform::test))
        .route("/v1/platform/webhooks/{webhook}/deliveries", get(webhooks::platform::deliveries))
        .route("/v1/platform/webhooks/{webhook}/redeliver", post(webhooks::platform::redeliver))
        .route("/v1/organisations/{organisation}/standing", put(organisations::set_standing))
        // provisioning: a key for provision, or the organisation's own Admin
        .route("/v1/organisations/{organisation}", get(organisations::one).put(organisations::put))
        .route("/v1/organisations/{organisation}/units", get(organisations::units))
        .route("/v1/organisations/{organisation}/units/{id}", put(organisations::put_unit))
        .route("/v1/organisations/{organisation}/accounts", get(organisations::accounts))
        .route("/v1/organisations/{organisation}/accounts/{id}/linked-group", put(organisations::link_account))
        .route("/v1/organisations/{organisation}/accounts/{id}", put(organisations::put_account).delete(organisations::remove_account))
        .route("/v1/organisations/{organisation}/roles", get(roles::roles))
        .route("/v1/organisations/{organisation}/roles/{id}", put(roles::put_role).delete(roles::delete_role))
        .route("/v1/organisations/{organisation}/members", get(members::members))
        .route("/v1/organisations/{organisation}/members/{id}", put(members::put_member).delete(members::remove_member))
        .route("/v1/organisations/{organisation}/members/{id}/enrolment", post(members::make_enrolment))
        .route("/v1/organisations/{organisation}/members/{id}/doors", get(doors::doors))
        .route("/v1/organisations/{organisation}/members/{id}/restore", post(members::restore))
        .route("/v1/organisations/{organisation}/members/{id}/access", get(access::read))
        .route("/v1/organisations/{organisation}/members/{id}/access/end", post(access::end))
        .route("/v1/organisations/{organisation}/members/{id}/reset-factors", post(factors::reset))
        .route("/v1/erasures", post(erasures::erase))
        .route("/v1/imports", get(imports::list).post(imports::import))
        .route("/v1/imports/{import}", get(imports::one))
        .route("/v1/imports/{import}/refusals", get(imports::refusals))
        // people
        .route("/v1/sign-in", post(sign_in::sign_in))
        .route("/v1/sign-in/second-factor", post(sign_in::second_factor))
        .route("/v1/sign-in/passkey/begin", post(sign_in::begin_passkey))
        .route("/v1/sign-in/passkey/finish", post(sign_in::finish_passkey))
        .route("/v1/sign-out", post(me::sign_out))
        .route("/v1/enrol", post(me::enrol))
        .route("/v1/me", get(me::me))
        .route("/v1/me/tenants", get(me::tenants))
        .route("/v1/me/step-up", post(sign_in::step_up))
        .route("/v1/me/password", put(sign_in::change_password))
        .route("/v1/me/sign-ins", get(sign_in::sign_ins))
        .route("/v1/me/sign-ins/{sign_in}", delete(sign_in::end_sign_in))
        .route("/v1/me/factors", get(factors::factors))
        .route("/v1/me/totp", post(factors::begin_totp).delete(factors::remove_totp))
        .route("/v1/me/totp/confirm", post(factors::confirm_totp))
        .route("/v1/me/recovery-codes", post(factors::make_recovery_codes))
        .route("/v1/me/passkeys", get(factors::passkeys).post(factors::add_passkey))
        .route("/v1/me/passkeys/begin", post(factors::begin_passkey))
        .route("/v1/me/passkeys/{passkey}", put(factors::rename_passkey).delete(factors::remove_passkey))
        // the customer's own affairs
        .route("/v1/organisations/{organisation}/customer-id", get(settings::customer_id))
        .route("/v1/organisations/{organisation}/customer-id/rotate", post(settings::rotate))
        .route("/v1/organisations/{organisation}/settings", get(settings::settings).put(settings::change_settings))
        .route("/v1/organisations/{organisation}/locks", get(locks::list).post(locks::lock))
        .route("/v1/locks/{lock}", delete(locks::unlock))
        .route("/v1/organisations/{organisation}/notices", get(notices::list))
        .route("/v1/organisations/{organisation}/notices/read", post(notices::read))
        .route("/v1/organisations/{organisation}/webhooks", get(webhooks::organisation::list).post(webhooks::organisation::make))
        .route("/v1/organisations/{organisation}/webhooks/{webhook}", get(webhooks::organisation::one).put(webhooks::organisation::change).delete(webhooks::organisation::remove))
        .route("/v1/organisations/{organisation}/webhooks/{webhook}/rotate", post(webhooks::organisation::rotate))
        .route("/v1/organisations/{organisation}/webhooks/{webhook}/test", post(webhooks::organisation::test))
        .route("/v1/organisations/{organisation}/webhooks/{webhook}/deliveries", get(webhooks::organisation::deliveries))
        .route("/v1/organisations/{organisation}/webhooks/{webhook}/redeliver", post(webhooks::organisation::redeliver))
        .route("/v1/organisations/{organisation}/partner-id", get(offers::partner_id))
        .route("/v1/organisations/{organisation}/partner-id/rotate", post(offers::rotate))
        // requests
        .route("/v1/organisations/{organisation}/requests", get(requests::list).post(requests::ask))
        .route("/v1/requests/{request}", get(requests::one))
        .route("/v1/requests/{request}/summary", post(requests::summary))
        .route("/v1/requests/{request}/approve", post(requests::approve))
        .route("/v1/requests/{request}/deny", post(requests::deny))
        .route("/v1/requests/{request}/cancel", post(requests::cancel))
        .route("/v1/organisations/{organisation}/offers", post(offers::offer))
        .route("/v1/organisations/{organisation}/offers/summary", post(offers::summary))
        .route("/v1/requests/{request}/accept", post(offers::accept))
        .route("/v1/requests/{request}/decline", post(offers::decline))
        // grants and who is on them
        .route("/v1/organisations/{organisation}/grants", get(grants::list))
        .route("/v1/grants/{grant}", get(grants::one))
        .route("/v1/organisations/{organisation}/grants/confirm", post(confirm::several))
        .route("/v1/grants/{grant}/confirm", post(confirm::one))
        .route("/v1/grants/{grant}/revoke", post(grants::revoke))
        .route("/v1/grants/{grant}/narrow", post(grants::narrow))
        .route("/v1/grants/{grant}/amend", post(amendments::amend))
        .route("/v1/grants/{grant}/amend/summary", post(amendments::summary))
        .route("/v1/grants/{grant}/give-up", post(grants::give_up))
        .route("/v1/grants/{grant}/assignments", get(grants::assignments).put(grants::set_assignments))
        .route("/v1/grants/{grant}/candidates", post(candidates::find))
        .route("/v1/grants/{grant}/bulk", post(bulk::bulk))
        .route("/v1/grants/{grant}/bulk/summary", post(bulk::summary))
        .route("/v1/grants/{grant}/auto", get(auto::read).put(auto::set))
        .route("/v1/grants/{grant}/auto/preview", post(auto::preview))
        .route("/v1/grants/{grant}/assignments/preview", post(staged::preview))
        .route("/v1/grants/{grant}/assignments/{person}", put(grants::assign).delete(grants::unassign))
        .route("/v1/grants/{grant}/invitations", get(invitations::list).post(invitations::invite))
        .route("/v1/grants/{grant}/invitations/{invitation}", put(invitations::change).delete(invitations::cancel))
        .route("/v1/grants/{grant}/invitations/{invitation}/resend", post(invitations::resend))
        .route("/v1/grants/{grant}/invitations/{invitation}/approve", post(invitations::approve))
        // whoever holds the link of an invitation
        .route("/v1/invitations/look", post(invitations::look))
        .route("/v1/invitations/accept", post(invitations::accept))
        .route("/v1/invitations/decline", post(invitations::decline))
        .route("/v1/invitations/register", post(invitations::register))
        .route("/v1/invitations/stop", post(invitations::stop))
        // sessions
        .route("/v1/organisations/{organisation}/sessions", get(sessions::history))
        .route("/v1/organisations/{organisation}/sessions/{session}", get(sessions::one))
        .route("/v1/sessions/{session}/close", post(sessions::close))
        .route("/v1/sessions/{session}/end", post(sessions::end))
        // what happened
        .route("/v1/events", get(feed::events))
        .route("/v1/audit/checkpoints", get(checkpoints::list))
        .route("/v1/audit/checkpoints/latest", get(checkpoints::latest))
        // the document of all this, and the page that shows it
        .route("/openapi.json", get(openapi::document))
        .route("/docs", get(docs::page))
        .route("/docs/{file}", get(docs::file))
        // standards
        .route("/oauth/token", post(oauth::exchange::token))
        .route("/oauth/introspect", post(oauth::introspect::introspect))
        .route("/oauth/revoke", post(oauth::revoke::revoke))
        .route("/oauth/jwks", get(oauth::metadata::jwks))
        .route("/.well-known/oauth-authorization-server", get(oauth::metadata::server))
        .route("/.well-known/oauth-protected-resource", get(oauth::metadata::resource))
        .route("/access/v1/evaluation", post(authzen::evaluation))
        .route("/access/v1/evaluations", post(authzen::batch::evaluations))
        .route("/access/v1/search/subject", post(authzen::search::subjects))
        .route("/access/v1/search/resource", post(authzen::search::resources))
        .route("/access/v1/search/action", post(authzen::search::actions))
        .route("/.well-known/authzen-configuration", get(authzen::metadata::configuration))
        .route("/ssf/stream", get(ssf::streams::read).post(ssf::streams::make).patch(ssf::streams::change).put(ssf::streams::replace).delete(ssf::streams::remove))
        .route("/ssf/status", get(ssf::status::read).post(ssf::status::set))
        .route("/ssf/verify", post(ssf::status::verify))
        .route("/ssf/poll/{stream}", post(ssf::poll::poll))
        .route("/.well-known/ssf-configuration", get(ssf::metadata::configuration))
        .fallback(problem::no_route)
        .method_not_allowed_fallback(problem::no_method)
        .layer(middleware::from_fn_with_state(app.clone(), again::again))
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(Extension(Arc::new(imports::Imports::default())))
        .merge(beside.with_state(()))
        .layer(middleware::from_fn_with_state(limits, limits::count))
        .layer(middleware::from_fn_with_state(app.clone(), oauth::metadata::say_where))
        .layer(middleware::from_fn(input::one_normal_form))
        .layer(middleware::from_fn_with_state(app.clone(), observe::observe))
        .with_state(app)
}
