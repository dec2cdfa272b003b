//! How often each move succeeded and each refusal and reason was reached. A generator that no
//! longer reaches something makes the test fail: a test that tries nothing proves nothing.

use std::collections::BTreeMap;

use comity_domain::event::Event;

/// At least so often in a run of the default length: about a third of what was measured.
const MOVES: &[(&str, u64)] = &[
    ("approve", 390), ("approve_looked", 6), ("ask", 855), ("assign", 1289), ("cancel", 34),
    ("change_portal", 51), ("clock_back", 77), ("clock_days", 71), ("clock_edge", 457),
    ("clock_minutes", 2042), ("clock_weeks", 25), ("close", 73), ("close_organisation", 2),
    ("delete_role", 34), ("deny", 161), ("end", 59), ("enter_act_as", 222), ("enter_direct", 666),
    ("enter_view", 319), ("give_up", 35), ("leave", 60), ("lift_member", 23),
    ("lift_organisation", 26), ("lift_unit", 24), ("lock_partner", 15), ("lock_person", 32),
    ("move_member", 53), ("narrow", 243), ("note_due", 147), ("policy", 58), ("put_account", 107),
    ("put_role", 167), ("recruit", 88), ("rejoin", 20), ("remove_account", 64),
    ("remove_member", 42), ("rename", 31), ("revoke", 52), ("rotate", 28), ("settings", 130),
    ("sign_in", 2138), ("sign_out", 29), ("sign_out_everywhere", 38), ("suspend_member", 44),
    ("suspend_organisation", 36), ("suspend_unit", 32), ("unassign", 167), ("unlock", 33),
];
const REFUSALS: &[(&str, u64)] = &[
    ("already_pending", 21), ("asked_too_often", 4), ("caller_revoked", 68), ("forbidden", 150),
    ("four_eyes", 30), ("fresh_sign_in_required", 48), ("grant_required", 8), ("invalid", 288),
    ("last_admin", 28), ("last_user", 162), ("locked", 128), ("mode_not_granted", 216),
    ("no_access", 186), ("not_active", 230), ("not_found", 463), ("partner_session_refused", 79),
    ("same_organisation", 31), ("session_exists", 104), ("stale_summary", 33), ("taken", 58),
    ("version_conflict", 42), ("widening", 51), ("wrong_state", 176),
];
const REASONS: &[(&str, u64)] = &[
    ("account_not_in_grant", 6882), ("account_required", 2396), ("allowed", 8575),
    ("assignment_lost", 5658), ("ended_by_customer", 1685), ("grant_ended", 2104), ("locked", 1433),
    ("never_delegable", 5013), ("no_role", 21561), ("revoked", 2714), ("session_closed", 2144),
    ("session_expired", 11948), ("suspended", 1184), ("wrong_resource", 14724),
];
const EVENTS: &[(&str, u64)] = &[
    ("account_made", 42), ("account_removed", 64), ("assigned", 1270),
    ("assignment_ended accounts_gone", 10), ("assignment_ended left_provider", 14),
    ("assignment_ended left_unit", 2), ("assignment_ended removed", 227),
    ("assignment_suspended", 11), ("assignment_trimmed", 17), ("customer_id_set", 28),
    ("denial_noted", 161), ("expiry_noted", 449), ("grant_ended closed", 4),
    ("grant_ended given_up", 35), ("grant_ended revoked", 52), ("grant_made", 396),
    ("grant_narrowed", 140), ("grant_unattended", 15), ("lock_lifted", 33), ("lock_placed", 47),
    ("member_changed", 79), ("member_joined", 105), ("member_left", 42), ("member_standing", 67),
    ("organisation_renamed", 31), ("organisation_standing", 65), ("policy_set", 51),
    ("request_addressed", 855), ("request_approved", 396), ("request_asked", 855),
    ("request_cancelled by_asker", 34), ("request_cancelled closed", 2),
    ("request_cancelled locked", 12), ("request_cancelled revoked", 6), ("request_denied", 161),
    ("role_changed", 126), ("role_deleted", 34), ("role_made", 3),
    ("session_ended assignment_lost", 126), ("session_ended closed", 68),
    ("session_ended ended_by_customer", 54), ("session_ended grant_ended", 32),
    ("session_ended locked", 22), ("session_ended revoked", 45), ("session_ended suspended", 22),
    ("session_shortened", 18), ("session_started", 1208), ("settings_changed", 39),
    ("signed_in", 2138), ("signed_out", 29), ("signed_out_everywhere", 38), ("unit_standing", 56),
];

#[derive(Clone, Debug, Default)]
pub struct Coverage {
    moves: BTreeMap<&'static str, (u64, u64)>,
    refusals: BTreeMap<&'static str, u64>,
    pub reasons: BTreeMap<&'static str, u64>,
    events: BTreeMap<String, u64>,
}

impl Coverage {
    pub fn done(&mut self, name: &'static str) {
        self.moves.entry(name).or_default().0 += 1;
    }

    pub fn refused(&mut self, name: &'static str, code: &'static str) {
        self.moves.entry(name).or_default().1 += 1;
        *self.refusals.entry(code).or_default() += 1;
    }

    /// Counts an event, and the cause with it where there is one.
    pub fn happened(&mut self, event: &Event) {
        let json = serde_json::to_value(event).unwrap();
        let text = |field: &str| json.get(field).and_then(|v| v.as_str()).map(str::to_owned);
        let name = [text("event"), text("cause")].into_iter().flatten().collect::<Vec<_>>().join(" ");
        *self.events.entry(name).or_default() += 1;
    }

    pub fn add(&mut self, other: Self) {
        for (name, (done, refused)) in other.moves {
            let here = self.moves.entry(name).or_default();
            *here = (here.0 + done, here.1 + refused);
        }
        for (code, n) in other.refusals {
            *self.refusals.entry(code).or_default() += n;
        }
        for (code, n) in other.reasons {
            *self.reasons.entry(code).or_default() += n;
        }
        for (name, n) in other.events {
            *self.events.entry(name).or_default() += n;
        }
    }

    /// Prints the tables, and leaves them in `target/model-coverage.txt`.
    pub fn publish(&self) {
        let mut out = format!("{:<24} {:>8} {:>8}\n", "move", "done", "refused");
        for (name, (done, refused)) in &self.moves {
            out += &format!("{name:<24} {done:>8} {refused:>8}\n");
        }
        out += &format!("\n{:<24} {:>8}\n", "refusal", "times");
        for (code, n) in &self.refusals {
            out += &format!("{code:<24} {n:>8}\n");
        }
        out += &format!("\n{:<24} {:>8}\n", "reason of a decision", "times");
        for (code, n) in &self.reasons {
            out += &format!("{code:<24} {n:>8}\n");
        }
        out += &format!("\n{:<32} {:>8}\n", "event", "times");
        for (name, n) in &self.events {
            out += &format!("{name:<32} {n:>8}\n");
        }
        println!("{out}");
        let target = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target");
        if std::path::Path::new(target).is_dir() {
            std::fs::write(format!("{target}/model-coverage.txt"), out).unwrap();
        }
    }

    pub fn check_floors(&self) {
        let mut low = Vec::new();
        let mut check = |name: &str, floor: u64, reached: u64| {
            if reached < floor {
                low.push(format!("{name}: {reached} of at least {floor}"));
            }
        };
        for (name, floor) in MOVES {
            check(name, *floor, self.moves.get(name).map_or(0, |m| m.0));
        }
        for (code, floor) in REFUSALS {
            check(code, *floor, self.refusals.get(code).copied().unwrap_or(0));
        }
        for (code, floor) in REASONS {
            check(code, *floor, self.reasons.get(code).copied().unwrap_or(0));
        }
        for (name, floor) in EVENTS {
            check(name, *floor, self.events.get(*name).copied().unwrap_or(0));
        }
        assert!(low.is_empty(), "the generator reaches too little:\n{}", low.join("\n"));
    }
}
