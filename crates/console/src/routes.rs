//! Every page.

use std::sync::Arc;

use axum::routing::{get, post};
use axum::{Router, middleware};
use comity_app::App;

use crate::{
    access, active, amend, approve, ask, asking, assets, components, demo, first_run, give_up,
    giving, grant, guard, history, home, inbox, locks, manage, me, narrow, off, offer, offered,
    operator, passkey, people, received, replaced, request, roles, session, settings, sign_in,
    stay, tenants, visitor, wrong,
};

/// What can be chosen about the console.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// Whether this is the demo: the page of components is shown, and links sign in.
    pub demo: bool,
}

/// What every page holds.
#[derive(Debug, Clone)]
pub struct Console {
    /// The installation.
    pub app: Arc<App>,
    /// What was chosen.
    pub settings: Settings,
}

/// The table. Every path begins with `/console`.
#[rustfmt::skip]
pub fn router(app: Arc<App>, settings: Settings) -> Router {
    let console = Console { app, settings };
    Router::new()
        .route("/console", get(home::home))
        .route("/console/o/{organisation}", get(home::organisation))
        // as customer: partner access
        .route("/console/o/{organisation}/access/live", get(access::live))
        .route("/console/o/{organisation}/access/pending", get(request::pending))
        .route("/console/o/{organisation}/access/active", get(active::page))
        .route("/console/o/{organisation}/access/rotate", get(locks::rotate_page).post(locks::rotate))
        .route("/console/o/{organisation}/requests/{request}", get(request::one))
        .route("/console/o/{organisation}/requests/{request}/approve", get(approve::page).post(approve::approve))
        .route("/console/o/{organisation}/requests/{request}/deny", get(request::deny_page).post(request::deny))
        .route("/console/o/{organisation}/grants/{grant}", get(grant::page))
        .route("/console/o/{organisation}/grants/{grant}/revoke", get(grant::revoke_page).post(grant::revoke))
        .route("/console/o/{organisation}/grants/{grant}/confirm", get(grant::confirm_page).post(grant::confirm))
        .route("/console/o/{organisation}/grants/{grant}/narrow", get(narrow::page).post(narrow::narrow))
        .route("/console/o/{organisation}/grants/{grant}/sessions/{session}/end", get(grant::end_page).post(grant::end))
        .route("/console/o/{organisation}/locks/new", get(locks::lock_page).post(locks::lock))
        .route("/console/o/{organisation}/locks/{lock}/unlock", get(locks::unlock_page).post(locks::unlock))
        // as customer: what is offered, and what is made of what was given
        .route("/console/o/{organisation}/access/give", get(giving::page))
        .route("/console/o/{organisation}/access/give/new", get(offer::whom_page).post(offer::whom))
        .route("/console/o/{organisation}/access/give/terms", get(offer::page).post(offer::make))
        .route("/console/o/{organisation}/offers/{request}/withdraw", get(giving::withdraw_page).post(giving::withdraw))
        .route("/console/o/{organisation}/grants/{grant}/amend", get(amend::page).post(amend::amend))
        // as customer: what was done, and what was chosen
        .route("/console/o/{organisation}/access/history", get(history::page))
        .route("/console/o/{organisation}/access/history.csv", get(history::csv))
        .route("/console/o/{organisation}/access/history.jsonl", get(history::json_lines))
        .route("/console/o/{organisation}/sessions/{session}", get(session::page))
        .route("/console/o/{organisation}/access/settings", get(settings::page).post(settings::save))
        .route("/console/o/{organisation}/access/replaced", get(replaced::list))
        .route("/console/o/{organisation}/access/replaced/{person}/restore", get(replaced::restore_page).post(replaced::restore))
        .route("/console/o/{organisation}/access/block", get(settings::block_page).post(settings::block))
        // as customer: roles
        .route("/console/o/{organisation}/roles", get(roles::list))
        .route("/console/o/{organisation}/roles/new", get(roles::define_page).post(roles::define))
        .route("/console/o/{organisation}/roles/{role}/version", get(roles::change_page).post(roles::change))
        .route("/console/o/{organisation}/roles/{role}/delete", get(roles::delete_page).post(roles::delete))
        .route("/console/o/{organisation}/inbox", get(inbox::page).post(inbox::read))
        // as partner
        .route("/console/o/{organisation}/asking", get(asking::list))
        .route("/console/o/{organisation}/asking/new", get(ask::ask_page).post(ask::ask))
        .route("/console/o/{organisation}/asking/{request}/cancel", get(asking::cancel_page).post(asking::cancel))
        .route("/console/o/{organisation}/partner-id", get(offered::codes).post(offered::make_code))
        .route("/console/o/{organisation}/offered/{request}", get(offered::page))
        .route("/console/o/{organisation}/offered/{request}/accept", post(offered::accept))
        .route("/console/o/{organisation}/offered/{request}/decline", get(offered::decline_page).post(offered::decline))
        .route("/console/o/{organisation}/grants-received", get(received::list))
        .route("/console/o/{organisation}/grants-received/{grant}", get(received::one))
        .route("/console/o/{organisation}/grants-received/{grant}/give-up", get(give_up::page).post(give_up::give_up))
        .route("/console/o/{organisation}/grants-received/{grant}/manage", get(manage::page).post(manage::save))
        .route("/console/o/{organisation}/grants-received/{grant}/people/new", get(people::add_page).post(people::add))
        .route("/console/o/{organisation}/grants-received/{grant}/people/{person}", get(people::change_page).post(people::change))
        .route("/console/o/{organisation}/grants-received/{grant}/people/{person}/remove", get(off::off_page).post(off::off))
        // inside customers
        .route("/console/tenants", get(tenants::list))
        .route("/console/tenants/{grant}/enter", get(tenants::enter_page).post(tenants::enter))
        .route("/console/stay/{session}", get(stay::page))
        .route("/console/stay/{session}/live", get(stay::live))
        .route("/console/stay/{session}/home", post(stay::home))
        .route("/console/assets/{file}", get(assets::file))
        .route("/console/components", get(components::page))
        .route("/console/demo/{email}", get(demo::page).post(demo::be))
        // who is looking
        .route("/console/sign-in", get(sign_in::page).post(sign_in::sign_in))
        .route("/console/sign-in/second-factor", post(sign_in::second_factor))
        .route("/console/sign-out", post(sign_in::sign_out))
        .route("/console/sign-in/passkey/begin", post(passkey::begin))
        .route("/console/sign-in/passkey", post(passkey::sign_in))
        .route("/console/step-up/passkey", post(passkey::step_up))
        .route("/console/step-up", get(sign_in::step_up_page).post(sign_in::step_up))
        .route("/console/enrol", get(sign_in::enrol_page).post(sign_in::enrol))
        // a person's own affairs
        .route("/console/me", get(me::page))
        .route("/console/me/password", get(me::password::page).post(me::password::change))
        .route("/console/me/codes", get(me::codes::begin).post(me::codes::complete))
        .route("/console/me/codes/remove", get(me::codes::remove_page).post(me::codes::remove))
        .route("/console/me/recovery-codes", get(me::codes::recovery_page).post(me::codes::recovery))
        .route("/console/me/passkeys/new", get(me::passkeys::new).post(me::passkeys::make))
        .route("/console/me/passkeys/{passkey}/rename", get(me::passkeys::rename_page).post(me::passkeys::rename))
        .route("/console/me/passkeys/{passkey}/remove", get(me::passkeys::remove_page).post(me::passkeys::remove))
        .route("/console/me/sign-ins/{sign_in}/end", post(me::end))
        .route("/console/me/sign-out-everywhere", get(me::everywhere_page).post(me::everywhere))
        // who operates
        .route("/console/first-run", get(first_run::page).post(first_run::claim))
        .route("/console/operator", get(operator::overview::page))
        .route("/console/operator/sign-in", get(operator::visit::page).post(operator::visit::sign_in))
        .route("/console/operator/sign-out", post(operator::visit::sign_out))
        .route("/console/operator/organisations/{organisation}/standing", get(operator::acts::standing_page).post(operator::acts::set_standing))
        .route("/console/operator/halts/{halt}/lift", get(operator::acts::lift_page).post(operator::acts::lift))
        .route("/console/{*rest}", get(nothing).post(nothing))
        .layer(middleware::from_fn_with_state(console.clone(), visitor::recognise))
        .layer(middleware::from_fn(guard::guard))
        .with_state(console)
}

/// No such page.
async fn nothing() -> wrong::Wrong {
    wrong::Wrong::not_found()
}
