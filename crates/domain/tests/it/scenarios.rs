//! The stories of `scenarios/`, played against the kernel. The same files are played through the
//! HTTP API elsewhere; `scenarios/README.md` describes their words.

mod asking;
mod cast;
mod deeds;
mod giving;
mod sights;
mod stage;
mod story;

use std::collections::BTreeSet;

use cast::Cast;
use stage::{Fault, Stage};
use story::{Act, Scenario, Step, Story};

/// One test for each file, named like it.
macro_rules! scenarios {
    ($($name:ident => $file:literal,)*) => {
        $(#[test] fn $name() { play($file); })*
        const LISTED: &[(&str, &str)] = &[$((stringify!($name), $file)),*];
    };
}

scenarios! {
    r01_customer_id => "r01-customer-id.toml",
    r02_partner_asks => "r02-partner-asks.toml",
    r03_pending_requests => "r03-pending-requests.toml",
    r04_active_access => "r04-active-access.toml",
    r05_history => "r05-history.toml",
    r06_access_levels => "r06-access-levels.toml",
    r07_impersonation => "r07-impersonation.toml",
    r08_review => "r08-review.toml",
    r09_consent => "r09-consent.toml",
    r10_limited_in_time => "r10-limited-in-time.toml",
    r11_deny => "r11-deny.toml",
    r12_revoke => "r12-revoke.toml",
    r13_history_columns => "r13-history-columns.toml",
    r14_session_length => "r14-session-length.toml",
    r15_session_status => "r15-session-status.toml",
    r16_api_calls => "r16-api-calls.toml",
    r17_who_decides => "r17-who-decides.toml",
    r18_what_was_authorised => "r18-what-was-authorised.toml",
    r19_why_it_fails => "r19-why-it-fails.toml",
    r20_report_and_lock => "r20-report-and-lock.toml",
    e05_last_user => "e05-last-user.toml",
    e06_whole_team => "e06-whole-team.toml",
    e07_team_off => "e07-team-off.toml",
    n01_who_and_which_side => "n01-who-and-which-side.toml",
    n04_offers => "n04-offers.toml",
    n06_who_gets_in => "n06-who-gets-in.toml",
    v02_units => "v02-units.toml",
    v03_selected_accounts => "v03-selected-accounts.toml",
    v04_the_service_changes => "v04-the-service-changes.toml",
    v06_bulk => "v06-bulk.toml",
    v07_current_access => "v07-current-access.toml",
    v08_bulk_removal => "v08-bulk-removal.toml",
    v09_role_and_account => "v09-role-and-account.toml",
    n08_switch_tenant => "n08-switch-tenant.toml",
    n09_direct_memberships => "n09-direct-memberships.toml",
    v11_linked_accounts => "v11-linked-accounts.toml",
    x_clock => "x-clock.toml",
    x_erasure => "x-erasure.toml",
    x_foreign_is_missing => "x-foreign-is-missing.toml",
    x_four_eyes => "x-four-eyes.toml",
    x_last_user => "x-last-user.toml",
    x_leaving => "x-leaving.toml",
    x_narrowing => "x-narrowing.toml",
    x_restore => "x-restore.toml",
    x_roles => "x-roles.toml",
    x_suspension => "x-suspension.toml",
    x_two_grants => "x-two-grants.toml",
}

/// Plays a file; says all that went wrong in it.
fn play(file: &str) {
    let cast: Cast = story::read("cast.toml");
    let scenario: Scenario = story::read(file);
    let faults: Vec<String> = scenario
        .stories
        .iter()
        .filter_map(|s| tell(&cast, s).err().map(|e| format!("\n  {:?}, {e}", s.name)))
        .collect();
    assert!(faults.is_empty(), "scenarios/{file} ({}):{}", scenario.title, faults.concat());
}

fn tell(cast: &Cast, story: &Story) -> Result<(), String> {
    let mut stage = Stage::set(cast);
    for step in cast.prelude(story.after.as_deref()) {
        take(&mut stage, step).map_err(|e| format!("in its prelude: {e}\n    {:?}", step.act))?;
    }
    for (at, step) in story.steps.iter().enumerate() {
        take(&mut stage, step).map_err(|e| format!("step {}: {e}\n    {:?}", at + 1, step.act))?;
    }
    // What was decided is what a replay makes of the log.
    if stage.w.replayed() == stage.w.state {
        Ok(())
    } else {
        Err("the log replays to another state".into())
    }
}

fn take(stage: &mut Stage, step: &Step) -> Result<(), String> {
    let by_itself = if matches!(step.act, Act::Decide { .. }) { "allowed" } else { "ok" };
    let expected = step.expect.as_deref().unwrap_or(by_itself);
    match (answer(stage, step), expected) {
        (Ok(got), _) if got == expected => Ok(()),
        (Ok(got), _) => Err(format!("expected {expected:?}, got {got:?}")),
        (Err(fault), _) if fault.code() == Some(expected) => Ok(()),
        (Err(fault), _) => Err(format!("expected {expected:?}, {}", fault.told())),
    }
}

/// What a step is answered: a refusal's code, a decision's reason, or `ok`.
fn answer(stage: &mut Stage, step: &Step) -> Result<&'static str, Fault> {
    if let Act::Wait { r#for } = step.act {
        stage.w.later(r#for.0);
        return Ok("ok");
    }
    if let Act::Decide { session, permission, account, organisation, application } = &step.act {
        let (account, organisation) = (account.as_deref(), organisation.as_deref());
        let reason =
            stage.decide(session, permission, account, organisation, application.as_deref())?;
        return Ok(reason.code());
    }
    let by_itself = match step.act {
        Act::SetStanding { .. }
        | Act::SetPolicy { .. }
        | Act::PutLevel { .. }
        | Act::Restore { .. } => "operator",
        _ => "platform",
    };
    let who = step.who.as_deref().unwrap_or(by_itself);
    let caller = stage.caller(who, step.old_sign_in)?;
    if let Some(seen) = stage.look_around(who, &caller, &step.act) {
        return seen.map(|()| "ok");
    }
    let made = stage.perform(who, &caller, &step.act)?;
    match (&step.save, made) {
        (Some(name), Some(made)) => {
            stage.saved.insert(name.clone(), made);
        }
        (Some(name), None) => {
            return stage::wrong(format!("nothing came of it that could be saved as {name}"));
        }
        (None, _) => {}
    }
    Ok("ok")
}

// -- the list of files --------------------------------------------------------------------------

#[test]
fn every_file_is_listed_under_its_own_name() {
    let there: BTreeSet<String> = std::fs::read_dir(story::folder())
        .expect("the folder scenarios/")
        .map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned())
        .filter(|name| !["README.md", "cast.toml"].contains(&name.as_str()))
        .collect();
    let listed: BTreeSet<String> = LISTED.iter().map(|(_, file)| (*file).to_string()).collect();
    assert_eq!(there, listed, "left: in scenarios/; right: listed in tests/it/scenarios.rs");
    for (name, file) in LISTED {
        assert_eq!(
            format!("{}.toml", name.replace('_', "-")),
            *file,
            "a test is named like its file"
        );
    }
}

#[test]
fn every_row_of_the_first_seed_has_a_scenario() {
    let played: BTreeSet<String> =
        LISTED.iter().flat_map(|(_, file)| story::read::<Scenario>(file).rows).collect();
    for row in 1..=20 {
        assert!(played.contains(&format!("r{row}")), "no scenario names row r{row}");
    }
}

#[test]
fn no_story_is_empty_and_no_two_of_a_file_have_one_name() {
    for (_, file) in LISTED {
        let scenario: Scenario = story::read(file);
        let names: BTreeSet<&str> = scenario.stories.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names.len(), scenario.stories.len(), "{file}: two stories of one name");
        assert!(!scenario.rows.is_empty(), "{file}: rows");
        assert!(
            scenario.stories.iter().all(|s| !s.steps.is_empty()),
            "{file}: a story without steps"
        );
    }
}
