//! A scenario file as data: nothing here knows by which door it is played, so that the runner of
//! another crate can take this file in by `#[path]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Where the scenarios are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios")
}

/// One scenario file: several stories, each of which begins with a new cast.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is about.
    pub title: String,
    /// The rows of the specification that it plays.
    pub rows: Vec<String>,
    /// In order.
    #[serde(rename = "story")]
    pub stories: Vec<Story>,
}

/// One story.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Story {
    /// What it shows, in one sentence.
    pub name: String,
    /// The prelude of the cast that is played first.
    pub after: Option<String>,
    /// In order, counted from 1.
    pub steps: Vec<Step>,
}

/// One step: who does what, and what is expected of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "toml::Table")]
pub struct Step {
    /// `name@organisation`, `platform`, `operator` or `$session`; the platform unless named.
    pub who: Option<String>,
    /// `ok`, a refusal's code, or for `decide` the reason; `ok` and `allowed` unless named.
    pub expect: Option<String>,
    /// The name by which later steps know what came of it.
    pub save: Option<String>,
    /// Whether the person uses the sign-in of their last step, however old.
    pub old_sign_in: bool,
    /// What is done.
    pub act: Act,
}

impl TryFrom<toml::Table> for Step {
    type Error = String;

    fn try_from(mut table: toml::Table) -> Result<Self, String> {
        let shown = table.to_string().replace('\n', "; ");
        let wrong = |e: toml::de::Error| format!("{} in step: {shown}", e.message());
        let mut text = |key: &str| table.remove(key).map(|v| v.try_into::<String>()).transpose();
        let (who, expect, save) = (text("who"), text("expect"), text("save"));
        let (who, expect, save) =
            (who.map_err(wrong)?, expect.map_err(wrong)?, save.map_err(wrong)?);
        let old = table.remove("old_sign_in").map(|v| v.try_into::<bool>()).transpose();
        let old_sign_in = old.map_err(wrong)?.unwrap_or(false);
        let act = Act::deserialize(toml::Value::Table(table)).map_err(wrong)?;
        Ok(Self { who, expect, save, old_sign_in, act })
    }
}

/// The verbs. Their fields are described in `scenarios/README.md`.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Act {
    // -- the clock
    Wait {
        r#for: Span,
    },
    // -- what the platform keeps
    PutOrganisation {
        organisation: String,
        name: String,
    },
    SetStanding {
        organisation: String,
        standing: String,
    },
    SetPolicy {
        never_delegable: Option<Vec<String>>,
        session_minutes: Option<u32>,
        longest_grant_days: Option<u32>,
        offers_need_acceptance: Option<bool>,
    },
    PutLevel {
        level: String,
        permissions: Vec<String>,
        modes: Vec<String>,
        longest_grant_days: u32,
        session_minutes: u32,
    },
    PutUnit {
        organisation: String,
        unit: String,
        active: Option<bool>,
    },
    LinkAccount {
        organisation: String,
        account: String,
        group: Option<String>,
    },
    PutAccount {
        organisation: String,
        account: String,
        unit: Option<String>,
    },
    RemoveAccount {
        organisation: String,
        account: String,
    },
    PutRole {
        organisation: String,
        role: String,
        permissions: Vec<String>,
    },
    DeleteRole {
        organisation: String,
        role: String,
    },
    PutMember {
        member: String,
        same_person_as: Option<String>,
        portal: Option<String>,
        unit: Option<String>,
        active: Option<bool>,
    },
    RemoveMember {
        member: String,
    },
    /// The organisation takes somebody back whom work for a partner superseded.
    RestoreMember {
        member: String,
    },
    Erase {
        organisation: Option<String>,
        member: Option<String>,
        request: Option<String>,
        session: Option<String>,
    },
    /// The log was put back from a copy of this very moment.
    Restore {
        #[serde(default)]
        keep_people: bool,
    },
    /// The platform lets a member set a first password.
    Enrol {
        member: String,
    },
    // -- the customer's own affairs
    ReadCustomerId {
        organisation: String,
    },
    RotateCustomerId {
        organisation: String,
    },
    ChangeSettings {
        organisation: String,
        customer_id_on: Option<bool>,
        session_minutes: Option<u32>,
        longest_grant_days: Option<u32>,
        blocked: Option<Vec<String>>,
        #[serde(default)]
        stale: bool,
    },
    // -- requests
    Ask(Box<Asked>),
    CancelRequest {
        request: String,
    },
    Look(Given),
    Approve(Given),
    Deny {
        request: String,
        reason: Option<String>,
        message: Option<String>,
    },
    // -- offers and amendments
    RotatePartnerId {
        organisation: String,
        unit: Option<String>,
    },
    Offer(Box<Offered>),
    Accept {
        request: String,
    },
    Decline {
        request: String,
        reason: Option<String>,
        message: Option<String>,
    },
    Amend(Amended),
    // -- grants and assignments
    Confirm {
        organisation: Option<String>,
        grants: Vec<String>,
    },
    Revoke {
        grant: String,
    },
    GiveUp {
        grant: String,
    },
    Narrow {
        grant: String,
        roles: Option<Vec<String>>,
        accounts: Option<AccountNames>,
        modes: Option<Vec<String>>,
        ends_in: Option<Span>,
        session_minutes: Option<u32>,
        #[serde(default)]
        stale: bool,
    },
    Assign {
        grant: String,
        member: String,
        roles: Vec<String>,
        #[serde(default)]
        accounts: AccountNames,
        ends_in: Option<Span>,
    },
    Unassign {
        grant: String,
        member: String,
        successor: Option<Successor>,
    },
    SetAssignments {
        grant: String,
        people: Vec<Successor>,
    },
    Bulk(Bulk),
    /// *Automatically add partner users*; without roles, off. `stale` is with a token of nothing.
    SetAuto {
        grant: String,
        roles: Option<Vec<String>>,
        only: Option<Vec<String>>,
        #[serde(default)]
        stale: bool,
        /// What the preview says.
        gains: Option<Vec<String>>,
        loses: Option<Vec<String>>,
    },
    /// All that a member may enter is ended at once.
    EndAccess {
        member: String,
    },
    // -- sessions
    Enter {
        customer: String,
        mode: Option<String>,
        application: Option<String>,
        grant: Option<String>,
        reason: Option<String>,
    },
    CloseSession {
        session: String,
    },
    EndSession {
        session: String,
    },
    Decide {
        session: String,
        permission: String,
        account: Option<String>,
        organisation: Option<String>,
        application: Option<String>,
    },
    // -- locks
    Lock {
        organisation: String,
        partner: Option<String>,
        member: Option<String>,
        reason: Option<String>,
    },
    Unlock {
        lock: String,
    },
    // -- what has to be seen
    ExpectPending {
        organisation: String,
        count: usize,
        #[serde(default)]
        rows: Vec<PendingRow>,
    },
    ExpectActive {
        organisation: String,
        partners: usize,
        rows: Option<Vec<ActiveRow>>,
    },
    ExpectHistory {
        organisation: String,
        rows: Vec<HistoryRow>,
    },
    ExpectRequest {
        request: String,
        status: String,
        impersonation: Option<bool>,
        message: Option<String>,
        reason: Option<String>,
        #[serde(default)]
        hides: Vec<String>,
    },
    ExpectGrant {
        grant: String,
        status: String,
        roles: Option<Vec<String>>,
        accounts: Option<AccountNames>,
        modes: Option<Vec<String>>,
        ends_in: Option<Span>,
        session_minutes: Option<u32>,
        unattended: Option<bool>,
    },
    ExpectAssigned {
        grant: String,
        rows: Vec<AssignedRow>,
    },
    ExpectCandidates {
        grant: String,
        /// `add` or `remove`.
        action: String,
        #[serde(default)]
        accounts: AccountNames,
        q: Option<String>,
        rows: Vec<CandidateRow>,
    },
    ExpectBulk {
        #[serde(flatten)]
        bulk: Bulk,
        created: Option<u64>,
        unchanged: Option<u64>,
        ended: Option<u64>,
        rule_lost: Option<u64>,
        superseded: Option<Vec<String>>,
        last_user: Option<bool>,
        linked: Option<Vec<String>>,
    },
    ExpectSession {
        session: String,
        status: String,
        minutes: Option<i64>,
        cause: Option<String>,
        ends_in: Option<Span>,
    },
    ExpectTenants {
        customers: Vec<String>,
    },
    /// A person's own doors that are open, and those that work for a partner has shut.
    ExpectDoors {
        member: String,
        open: Vec<String>,
        superseded: Vec<String>,
        tenants: Vec<String>,
    },
    ExpectFeed {
        organisation: String,
        #[serde(default)]
        includes: Vec<String>,
        #[serde(default)]
        excludes: Vec<String>,
        #[serde(default)]
        shows: Vec<String>,
        #[serde(default)]
        hides: Vec<String>,
    },
}

/// Many people and many accounts of a grant.
#[derive(Debug, Clone, Deserialize)]
pub struct Bulk {
    pub grant: String,
    /// `add` or `remove`.
    pub action: String,
    pub members: Vec<String>,
    #[serde(default)]
    pub accounts: AccountNames,
    #[serde(default)]
    pub roles: Vec<String>,
    #[serde(default)]
    pub everybody: bool,
    pub successor: Option<Successor>,
    /// Another hash is sent than that of the summary.
    #[serde(default)]
    pub unseen: bool,
    /// The token for linked accounts is sent.
    #[serde(default)]
    pub take_along: bool,
    /// The hash of a summary that was looked at before, instead of one of this moment.
    pub summary: Option<String>,
}

/// What a partner asks for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    pub customer_id: String,
    /// The runner changes one character of the customer ID.
    #[serde(default)]
    pub typo: bool,
    pub unit: Option<String>,
    pub level: Option<String>,
    pub modes: Option<Vec<String>>,
    pub days: Option<u32>,
    #[serde(default)]
    pub roles: Vec<String>,
    #[serde(default)]
    pub accounts: Vec<String>,
    pub reason: Option<String>,
    pub ticket: Option<String>,
}

/// What a customer offers, to whom.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offered {
    pub partner_id: Option<String>,
    /// An organisation that is known, in place of its partner ID.
    pub partner: Option<String>,
    pub partner_unit: Option<String>,
    pub level: Option<String>,
    pub roles: Vec<String>,
    #[serde(default)]
    pub accounts: AccountNames,
    pub unit: Option<String>,
    pub modes: Option<Vec<String>>,
    pub days: Option<u32>,
    pub starts_in: Option<Span>,
    pub session_minutes: Option<u32>,
    pub reason: Option<String>,
    /// A wrong hash in place of the one that is shown.
    #[serde(default)]
    pub unseen: bool,
}

/// What a customer makes of a grant; what is not named stays.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amended {
    pub grant: String,
    pub roles: Option<Vec<String>>,
    pub accounts: Option<AccountNames>,
    pub modes: Option<Vec<String>>,
    pub days: Option<u32>,
    pub session_minutes: Option<u32>,
    /// A wrong hash in place of the one that is shown.
    #[serde(default)]
    pub unseen: bool,
}

/// What an approver gives; what is not named is as asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    pub request: String,
    pub roles: Vec<String>,
    #[serde(default)]
    pub accounts: AccountNames,
    pub unit: Option<String>,
    pub modes: Option<Vec<String>>,
    pub days: Option<u32>,
    pub starts_in: Option<Span>,
    pub session_minutes: Option<u32>,
    /// A hash from an earlier `look`; the runner looks by itself otherwise.
    pub summary: Option<String>,
    /// What the summary has to show (only in `look`).
    pub shows: Option<Shows>,
}

/// What a summary shows.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shows {
    pub partner: Option<String>,
    pub level: Option<String>,
    pub roles: Option<BTreeMap<String, Vec<String>>>,
    pub accounts: Option<AccountNames>,
    pub modes: Option<Vec<String>>,
    pub days: Option<u32>,
    pub session_minutes: Option<u32>,
    pub never_delegable: Option<Vec<String>>,
}

/// Who follows a person who is taken off a grant.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Successor {
    pub member: String,
    pub roles: Vec<String>,
    #[serde(default)]
    pub accounts: AccountNames,
}

/// `"all"`, or a list of external identifiers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "toml::Value")]
pub enum AccountNames {
    #[default]
    All,
    List(Vec<String>),
}

impl TryFrom<toml::Value> for AccountNames {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Self, String> {
        match value {
            toml::Value::String(all) if all == "all" => Ok(Self::All),
            list @ toml::Value::Array(_) => {
                list.try_into().map(Self::List).map_err(|e| e.message().into())
            }
            other => Err(format!("accounts must be \"all\" or a list, not {other}")),
        }
    }
}

/// A span of time such as `"1d 2h 30m 15s 999ms"`, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub i64);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a span such as \"1d 2h 30m 15s 999ms\"");
        text.split_whitespace()
            .map(|part| {
                let unit = part.trim_start_matches(|c: char| c.is_ascii_digit());
                let number: i64 = part[..part.len() - unit.len()].parse().map_err(|_| wrong())?;
                let millis = match unit {
                    "d" => 86_400_000,
                    "h" => 3_600_000,
                    "m" => 60_000,
                    "s" => 1_000,
                    "ms" => 1,
                    _ => return Err(wrong()),
                };
                Ok(number * millis)
            })
            .sum::<Result<i64, String>>()
            .map(Self)
    }
}

/// A pending request, as the customer sees it. What is not named may be anything.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PendingRow {
    pub partner: Option<String>,
    pub by: Option<String>,
    pub email: Option<String>,
    pub level: Option<String>,
    pub impersonation: Option<bool>,
    pub days: Option<u32>,
    pub reason: Option<String>,
    pub ticket: Option<String>,
    pub roles: Option<Vec<String>>,
    pub accounts: Option<Vec<String>>,
}

/// A line of *Active Access*.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActiveRow {
    pub partner: Option<String>,
    pub status: Option<String>,
    pub inside: Option<usize>,
    pub level: Option<String>,
    pub ends_in: Option<Span>,
}

/// A line of *Impersonation History*.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryRow {
    pub partner: Option<String>,
    pub member: Option<String>,
    pub mode: Option<String>,
    pub status: Option<String>,
    pub cause: Option<String>,
    pub minutes: Option<i64>,
    pub seconds: Option<i64>,
    /// Counted by the decision service: a runner that has none does not look.
    pub calls_allowed: Option<u64>,
    /// The same.
    pub calls_refused: Option<u64>,
}

/// Somebody who can be chosen: `k` of `n`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CandidateRow {
    pub member: String,
    pub k: usize,
    pub n: usize,
}

/// A person on a grant.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssignedRow {
    pub member: String,
    pub status: Option<String>,
    pub basis: Option<String>,
    pub roles: Option<Vec<String>>,
    pub accounts: Option<AccountNames>,
}

/// Reads a file of the folder.
pub fn read<T: serde::de::DeserializeOwned>(file: &str) -> T {
    let path = folder().join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    toml::from_str(&text).unwrap_or_else(|e| panic!("scenarios/{file}: {e}"))
}
