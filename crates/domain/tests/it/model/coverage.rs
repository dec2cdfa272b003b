//! How often each move succeeded and each refusal and reason was reached. A generator that no
//! longer reaches something makes the test fail: a test that tries nothing proves nothing.

use std::collections::BTreeMap;

use comity_domain::event::Event;

/// At least so often in a run of the default length: about a third of what was measured.
const MOVES: &[(&str, u64)] = &[
    ("approve", 307),
    ("approve_looked", 1),
    ("ask", 693),
    ("assign", 992),
    ("cancel", 29),
    ("change_portal", 34),
    ("clock_back", 61),
    ("clock_days", 56),
    ("clock_edge", 342),
    ("clock_minutes", 1587),
    ("offer", 150),
    ("accept", 65),
    ("decline", 14),
    ("amend", 190),
    ("clock_weeks", 20),
    ("close", 71),
    ("close_organisation", 3),
    ("confirm", 12),
    ("delete_role", 25),
    ("deny", 131),
    ("end", 45),
    ("enter_act_as", 176),
    ("enter_direct", 515),
    ("enter_view", 277),
    ("erase_account", 16),
    ("erase_person", 23),
    ("erase_request", 41),
    ("erase_session", 20),
    ("give_up", 29),
    ("halt", 20),
    ("home_roles", 30),
    ("leave", 57),
    ("link_account", 5),
    ("lift_halt", 18),
    ("lift_member", 9),
    ("lift_organisation", 18),
    ("lift_unit", 20),
    ("lock_partner", 11),
    ("lock_person", 27),
    ("move_member", 47),
    ("narrow", 193),
    ("note_due", 111),
    ("policy", 56),
    ("put_account", 81),
    ("put_role", 131),
    ("recruit", 88),
    ("rejoin", 16),
    ("remove_account", 53),
    ("remove_member", 31),
    ("rename", 24),
    ("restore", 26),
    ("revoke", 40),
    ("rotate", 23),
    ("assign_many", 70),
    ("unassign_many", 30),
    ("set_assignments", 60),
    ("set_auto", 60),
    ("end_access", 9),
    ("settings", 98),
    ("sign_in", 1699),
    ("sign_out", 22),
    ("sign_out_everywhere", 27),
    ("suspend_member", 22),
    ("suspend_organisation", 22),
    ("suspend_unit", 30),
    ("unassign", 131),
    ("unlock", 25),
];
const REFUSALS: &[(&str, u64)] = &[
    ("already_pending", 13),
    ("asked_too_often", 1),
    ("caller_revoked", 65),
    ("forbidden", 107),
    ("four_eyes", 46),
    ("fresh_sign_in_required", 32),
    ("grant_required", 4),
    ("invalid", 234),
    ("evidence", 3),
    ("in_use", 53),
    ("last_admin", 19),
    ("linked_accounts", 1),
    ("auto_assign_enabled", 200),
    ("last_user", 60),
    ("locked", 73),
    ("mode_not_granted", 173),
    ("no_access", 113),
    ("not_active", 168),
    ("not_found", 366),
    ("partner_session_refused", 66),
    ("same_organisation", 29),
    ("session_exists", 50),
    ("stale_summary", 21),
    ("taken", 18),
    ("unconfirmed", 12),
    ("version_conflict", 36),
    ("widening", 41),
    ("wrong_state", 130),
];
const REASONS: &[(&str, u64)] = &[
    ("account_not_in_grant", 5059),
    ("account_required", 1868),
    ("allowed", 6358),
    ("assignment_lost", 3014),
    ("ended_by_customer", 1132),
    ("grant_ended", 757),
    ("locked", 701),
    ("never_delegable", 3500),
    ("no_role", 16667),
    ("restored", 400),
    ("revoked", 910),
    ("session_closed", 1997),
    ("session_expired", 13530),
    ("suspended", 460),
    ("wrong_resource", 11558),
];
const EVENTS: &[(&str, u64)] = &[
    ("offer_made", 150),
    ("offer_accepted", 80),
    ("grant_amended", 190),
    ("account_made", 31),
    ("account_removed", 53),
    ("assigned", 971),
    ("assigned_many", 60),
    ("unassigned_many", 25),
    ("assignments_trimmed", 1),
    ("assignment_ended accounts_gone", 4),
    ("assignment_ended all_ended", 7),
    ("assignment_ended replaced", 50),
    ("auto_cleared switched_off", 9),
    ("auto_set", 50),
    ("auto_suspended", 2),
    ("assignment_ended left_provider", 12),
    ("assignment_ended left_unit", 3),
    ("assignment_ended removed", 189),
    ("assignment_suspended", 3),
    ("assignment_trimmed", 12),
    ("customer_id_set", 23),
    ("denial_noted", 131),
    ("expiry_noted", 330),
    ("grant_confirmed", 12),
    ("grant_ended closed", 2),
    ("grant_ended given_up", 29),
    ("grant_ended revoked", 40),
    ("grant_made", 313),
    ("grant_narrowed", 115),
    ("grant_unattended", 25),
    ("halt_lifted", 18),
    ("halt_noted", 20),
    ("halted", 20),
    ("lock_lifted", 25),
    ("lock_placed", 38),
    ("member_changed", 66),
    ("member_joined", 99),
    ("member_left", 31),
    ("member_standing", 31),
    ("organisation_renamed", 24),
    ("organisation_standing", 44),
    ("person_made", 21),
    ("policy_set", 46),
    ("request_addressed", 693),
    ("request_approved", 313),
    ("request_asked", 693),
    ("request_cancelled", 29),
    ("cancellation_noted closed", 2),
    ("cancellation_noted locked", 11),
    ("cancellation_noted revoked", 5),
    ("request_denied", 131),
    ("restored", 26),
    ("role_changed", 99),
    ("role_deleted", 25),
    ("role_made", 6),
    ("session_ended assignment_lost", 108),
    ("session_ended closed", 68),
    ("session_ended ended_by_customer", 39),
    ("session_ended grant_ended", 19),
    ("session_ended locked", 20),
    ("session_ended revoked", 30),
    ("session_ended suspended", 6),
    ("session_shortened", 16),
    ("session_started", 968),
    ("settings_changed", 32),
    ("signed_in", 1699),
    ("signed_out", 22),
    ("signed_out_everywhere", 27),
    ("unit_standing", 50),
    ("words_erased", 87),
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
        let json = event.told();
        let text = |field: &str| json.get(field).and_then(|v| v.as_str()).map(str::to_owned);
        let name =
            [text("event"), text("cause")].into_iter().flatten().collect::<Vec<_>>().join(" ");
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
