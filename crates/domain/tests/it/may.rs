//! The reviewed table of who may do what: every action × every kind of caller.

use comity_domain::application::KeyUse;
use comity_domain::command::{Caller, Command};
use comity_domain::ids::{OrganisationId, PersonId};
use comity_domain::may::{self, Action, Thing};
use comity_domain::person::PortalRole;
use comity_domain::refusal::Refusal;
use comity_domain::role::Mode;
use comity_domain::time::MINUTE;

use crate::world::{World, anonymous, by_key, inside};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/output/who-may.txt");

const LEGEND: &str = "\
Who may do what inside Comity. Written and compared by tests/it/may.rs; COMITY_BLESS=1 rewrites it.

The customer is `harbour`, the provider `brokers`; a grant lets the provider in, and `rita` is on it.
What is between the two is judged as theirs; `own` is the caller's own; the rest is as the second
column says. Somebody else's own is always `-` (no column: a test of its own).

  yes    may                                   fresh  would, with a sign-in of the last five minutes
  -      not_found: as if it were not there    susp   not_active: suspended
  no     forbidden: told what it takes         sess   refused because it is a partner session
                                               gone   the key was retired
";

/// What an action is done to.
#[derive(Clone, Copy, PartialEq)]
enum On {
    Platform,
    Customer,
    Provider,
    Between,
    Own,
}

fn on(action: Action) -> On {
    use Action::*;
    match action {
        PutApplication
        | MakeKey
        | RetireKey
        | SetClientKeys
        | RotateSigningKeys
        | SetPolicy
        | PutLevel
        | ReadPlatform
        | LiftHalt
        | PutOrganisation
        | ReadAllEvents
        | Evaluate
        | EraseWords
        | ManagePlatformWebhooks
        | KeepStream => On::Platform,
        SetStanding | PutUnit | PutAccount | RemoveAccount | PutRole | DeleteRole | PutMember
        | RemoveMember | RestoreMembership | EndAccess | MakeEnrolment | ResetFactors
        | ReadMembers | ReadDoors | ReadRoles | ReadAccounts | ReadOrganisation
        | ReadCustomerId | RotateCustomerId | MakeOffer | ReadSettings | ChangeSettings
        | ReadLocks | Lock | Unlock | ReadEvents | ReadNotices | ReadWebhooks | ManageWebhooks => {
            On::Customer
        }
        Ask | ReadPartnerId | RotatePartnerId => On::Provider,
        SignOut | StepUp | ManageFactors | ReadSelf | Enter | LeaveGrant | CloseSession => On::Own,
        CancelRequest | ReadRequest | Approve | Deny | WithdrawOffer | AcceptOffer
        | DeclineOffer | ReadGrant | Confirm | Revoke | Narrow | Amend | GiveUp
        | ReadAssignments | Assign | Unassign | SetAuto | ReadHistory | EndSession => On::Between,
    }
}

struct Actor {
    name: &'static str,
    caller: Caller,
    person: PersonId,
}

struct Cast {
    world: World,
    customer: OrganisationId,
    provider: OrganisationId,
    actors: Vec<Actor>,
}

fn cast() -> Cast {
    let mut w = World::new();
    let harbour = w.organisation("harbour", "Harbour");
    let brokers = w.organisation("brokers", "Brokers");
    let outside = w.organisation("outside", "Outside");
    let keeper = w.role(harbour, "keeper", &["boats:*"]);
    let boss = w.admin(harbour, "boss");
    let chief = w.admin(brokers, "chief");
    let rita = w.member(brokers, "rita", None);
    let (ask, answer) = (w.sign_in(chief), w.sign_in(boss));
    let request = w.ask(&ask, w.ask_spec(brokers, harbour));
    let terms = w.terms(&[keeper]);
    let grant = w.approve(&answer, request, terms);
    w.assign(&ask, grant, rita, &[keeper]);
    let by_rita = w.sign_in(rita);

    let operate = w.operate();
    let spare = w.key(&operate, KeyUse::Provision, None);
    w.must(&operate, Command::RetireKey { key: spare });
    let stale_admin = w.admin(harbour, "early");
    let stale = w.sign_in(stale_admin);
    w.later(6 * MINUTE);
    let session = w.enter(&by_rita, harbour, Mode::Direct);

    let mut actors = Vec::new();
    let mut add = |name, caller, person| actors.push(Actor { name, caller, person });
    add("operate key", w.operate(), boss);
    add("provision key", w.provision(), boss);
    add("decide key", w.decide(), boss);
    add("retired key", by_key(spare), boss);
    add("customer Admin, fresh sign-in", w.sign_in(boss), boss);
    add("customer Admin, six minutes ago", stale, stale_admin);
    let support = w.member(harbour, "help", Some(PortalRole::CustomerSupport));
    add("customer Customer Support", w.sign_in(support), support);
    let plain = w.member(harbour, "plain", None);
    add("customer member without a role", w.sign_in(plain), plain);
    let away = w.admin(harbour, "away");
    let by_away = w.sign_in(away);
    let mut put = w.member_spec(harbour, "away", Some(PortalRole::Admin));
    put.active = false;
    w.must(&w.provision(), Command::PutMember(put));
    add("customer Admin, suspended", by_away, away);
    add("provider Admin", w.sign_in(chief), chief);
    let desk = w.member(brokers, "desk", Some(PortalRole::CustomerSupport));
    add("provider Customer Support", w.sign_in(desk), desk);
    let clerk = w.member(brokers, "clerk", None);
    add("provider member without a role", w.sign_in(clerk), clerk);
    add("provider's assigned partner user", w.sign_in(rita), rita);
    let foreign = w.admin(outside, "foreign");
    add("Admin of an unrelated organisation", w.sign_in(foreign), foreign);
    add("partner session", inside(session), rita);
    add("anonymous", anonymous(), boss);
    Cast { world: w, customer: harbour, provider: brokers, actors }
}

impl Cast {
    fn thing(&self, on: On, actor: &Actor) -> Thing {
        match on {
            On::Platform => Thing::platform(),
            On::Customer => Thing::organisation(self.customer),
            On::Provider => Thing::organisation(self.provider),
            On::Between => Thing::between(self.customer, self.provider),
            On::Own => Thing::own(actor.person),
        }
    }

    fn judge(&self, action: Action, actor: &Actor) -> Result<(), Refusal> {
        let (state, now) = (&self.world.state, self.world.now);
        may::authentic(state, &actor.caller, now)?;
        may::check(state, &actor.caller, action, self.thing(on(action), actor), now)
    }
}

fn word(verdict: &Result<(), Refusal>) -> &'static str {
    match verdict {
        Ok(()) => "yes",
        Err(Refusal::NotFound) => "-",
        Err(Refusal::Forbidden(_)) => "no",
        Err(Refusal::FreshSignIn) => "fresh",
        Err(Refusal::NotActive(_)) => "susp",
        Err(Refusal::PartnerSession) => "sess",
        Err(Refusal::CallerRevoked) => "gone",
        Err(other) => panic!("no word for {}", other.code()),
    }
}

fn table(cast: &Cast) -> String {
    let mut out = format!("{LEGEND}\n");
    let letters: Vec<char> = ('a'..).take(cast.actors.len()).collect();
    for (letter, actor) in letters.iter().zip(&cast.actors) {
        out += &format!("  {letter}  {}\n", actor.name);
    }
    let columns = |cells: Vec<String>| cells.iter().map(|c| format!("{c:<6}")).collect::<String>();
    let head = columns(letters.iter().map(char::to_string).collect());
    out += &format!("\n{}\n", format!("{:<17} {:<9} {head}", "action", "on").trim_end());
    for action in Action::ALL {
        let cells = cast.actors.iter().map(|a| word(&cast.judge(action, a)).to_owned()).collect();
        let on = match on(action) {
            On::Platform => "platform",
            On::Customer => "customer",
            On::Provider => "provider",
            On::Between => "between",
            On::Own => "own",
        };
        out += &format!(
            "{}\n",
            format!("{:<17} {on:<9} {}", format!("{action:?}"), columns(cells)).trim_end()
        );
    }
    out
}

#[test]
fn who_may_do_what_is_what_was_reviewed() {
    let now = table(&cast());
    if std::env::var_os("COMITY_BLESS").is_some() {
        std::fs::write(TABLE, &now).unwrap();
    }
    let reviewed = std::fs::read_to_string(TABLE).unwrap_or_default();
    if now == reviewed {
        return;
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (reviewed.lines().collect(), now.lines().collect());
    let mut diff = String::new();
    for line in old.iter().filter(|l| !new.contains(l)) {
        diff += &format!("- {line}\n");
    }
    for line in new.iter().filter(|l| !old.contains(l)) {
        diff += &format!("+ {line}\n");
    }
    panic!("{TABLE} differs; review, then COMITY_BLESS=1:\n{diff}");
}

#[test]
fn t08_a_partner_session_may_close_itself_and_nothing_else() {
    let mut cast = cast();
    let actor = cast.actors.iter().find(|a| a.name == "partner session").unwrap();
    let (caller, rita) = (actor.caller.clone(), actor.person);
    let (state, now) = (&cast.world.state, cast.world.now);
    let things = [
        Thing::platform(),
        Thing::organisation(cast.customer),
        Thing::organisation(cast.provider),
        Thing::between(cast.customer, cast.provider),
        Thing::own(rita),
    ];
    for action in Action::ALL {
        for thing in things {
            let own = action == Action::CloseSession && thing.owner == Some(rita);
            let verdict = may::check(state, &caller, action, thing, now);
            let expected = if own { Ok(()) } else { Err(Refusal::PartnerSession) };
            assert_eq!(verdict, expected, "{action:?} on {thing:?}");
        }
    }
    // Another session of the same person is not its own.
    let by_rita = cast.world.sign_in(rita);
    let other = cast.world.enter(&by_rita, cast.customer, Mode::View);
    let close = Command::CloseSession { session: other };
    assert_eq!(cast.world.refused(&caller, close), "partner_session_refused");
    // Nor does it tell whether a session exists.
    let nothing = Command::CloseSession { session: comity_domain::ids::SessionId(7) };
    assert_eq!(cast.world.refused(&caller, nothing), "partner_session_refused");
}

#[test]
fn t47_a_key_decides_nothing_for_anybody() {
    use Action::*;
    let people_only = [
        SignOut,
        StepUp,
        ManageFactors,
        ReadSelf,
        Enter,
        LeaveGrant,
        ReadCustomerId,
        RotateCustomerId,
        ReadSettings,
        ChangeSettings,
        Ask,
        CancelRequest,
        ReadRequest,
        Approve,
        Deny,
        ReadGrant,
        Revoke,
        Narrow,
        GiveUp,
        ReadAssignments,
        Assign,
        Unassign,
        ReadHistory,
        CloseSession,
        EndSession,
        ReadLocks,
        Lock,
        Unlock,
        ReadEvents,
    ];
    let cast = cast();
    for actor in cast.actors.iter().filter(|a| a.name.ends_with("key")) {
        for action in people_only {
            assert!(cast.judge(action, actor).is_err(), "{} may {action:?}", actor.name);
        }
    }
}

#[test]
fn t13_what_is_somebody_elses_own_is_as_if_it_were_not_there() {
    let cast = cast();
    let (state, now) = (&cast.world.state, cast.world.now);
    for actor in cast.actors.iter().filter(|a| a.caller.person().is_some()) {
        for other in cast.actors.iter().filter(|o| o.person != actor.person) {
            for action in Action::ALL.into_iter().filter(|a| on(*a) == On::Own) {
                let verdict =
                    may::check(state, &actor.caller, action, Thing::own(other.person), now);
                assert_eq!(verdict, Err(Refusal::NotFound), "{} {action:?}", actor.name);
            }
        }
    }
}

#[test]
fn inv13_an_outsider_is_told_nothing() {
    let cast = cast();
    let outsider = cast.actors.iter().find(|a| a.name.contains("unrelated")).unwrap();
    for action in Action::ALL.into_iter().filter(|a| !matches!(on(*a), On::Own | On::Platform)) {
        assert_eq!(word(&cast.judge(action, outsider)), "-", "{action:?}");
    }
}
