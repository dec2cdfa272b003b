//! The first run: one claim, by the newest link, within a day, on a log without a key.

use comity_domain::application::KeyUse;
use comity_domain::command::{Caller, Command, Door, Principal};
use comity_domain::draft::SideWrite;
use comity_domain::event::Event;
use comity_domain::first_run::{Claim, LINK_LASTS, is_unclaimed, opens};
use comity_domain::ids::{CommandId, Digest32};
use comity_domain::kernel;
use comity_domain::person::PortalRole;
use comity_domain::text::Lookup;

use crate::world::{World, anonymous, by_key};

fn link(n: u8) -> Digest32 {
    Digest32([n; 32])
}

fn offer(w: &mut World, n: u8) {
    w.must(&Caller::system(), Command::OfferFirstRun { digest: link(n) });
}

fn claim(w: &mut World, n: u8) -> Claim {
    Claim {
        link: link(n),
        organisation_id: "marina".into(),
        organisation_name: "Marina Bay".into(),
        code: w.fresh_code(),
        admin_id: "ana".into(),
        admin_name: "Ana Alvarez".into(),
        admin_email: "ana@marina.example".into(),
        password_hash: "$argon2id$test".into(),
        operate: w.secret(),
        provision: w.secret(),
    }
}

fn claiming(w: &mut World, n: u8) -> Command {
    Command::ClaimFirstRun(Box::new(claim(w, n)))
}

#[test]
fn one_row_makes_the_organisation_its_admin_and_both_keys() {
    let mut w = World::empty(3);
    assert!(is_unclaimed(&w.state));
    offer(&mut w, 1);
    let claim = claim(&mut w, 1);
    let (operate, provision) = (claim.operate, claim.provision);
    let command = Command::ClaimFirstRun(Box::new(claim.clone()));
    let decided =
        kernel::decide(&w.state, &anonymous(), CommandId(1), command.clone(), w.now, &mut w.ids);
    let side = decided.unwrap().side;
    let credential =
        |s: &SideWrite| matches!(s, SideWrite::Credential(_, h) if *h == claim.password_hash);
    assert!(side.iter().any(credential), "the password goes beside the log");
    assert!(side.iter().any(|s| matches!(s, SideWrite::CustomerId(..))));
    let row = w.must(&anonymous(), command).unwrap();
    assert_eq!(&*row.kind, "claim_first_run");
    let marina = w.state.words.find(Lookup::Organisation, "marina").unwrap();
    let marina = comity_domain::ids::OrganisationId(marina);
    let ana = w.person(marina, "ana");
    let member = &w.state.members[&(marina, ana)];
    assert_eq!(member.portal, Some(PortalRole::Admin));
    let person = w.state.people.get(ana).unwrap();
    assert!(person.has_password && person.email_verified);
    for (digest, usage) in [(operate, KeyUse::Operate), (provision, KeyUse::Provision)] {
        let key = w.state.key_by_digest(digest).unwrap();
        assert_eq!(w.state.keys.get(key).unwrap().usage, usage);
    }
    // The keys are the platform's own affair, the rest is the organisation's.
    for recorded in &row.events {
        let platform = matches!(recorded.event, Event::KeyMade { .. });
        assert_eq!(recorded.readers, if platform { vec![] } else { vec![marina] });
    }
    assert!(!is_unclaimed(&w.state) && w.state.first_run.is_none());
    assert!(w.replayed() == w.state && w.loaded() == w.state);
    // The keys work at once.
    let key = by_key(w.state.key_by_digest(provision).unwrap());
    let code = w.fresh_code();
    let put = Command::PutOrganisation { external: "b".into(), name: "Brokers".into(), code };
    w.must(&key, put);
}

#[test]
fn t54_a_link_opens_once_for_a_day_and_only_the_newest_of_them() {
    let mut w = World::empty(4);
    let early = claiming(&mut w, 0);
    assert_eq!(w.refused(&anonymous(), early), "not_found", "there is no link yet");
    offer(&mut w, 1);
    assert!(opens(&w.state, link(1), w.now) && !opens(&w.state, link(2), w.now));
    let guessed = claiming(&mut w, 2);
    assert_eq!(w.refused(&anonymous(), guessed), "not_found");
    // Another start.
    offer(&mut w, 3);
    let old = claiming(&mut w, 1);
    assert_eq!(w.refused(&anonymous(), old.clone()), "not_found");
    // A day later.
    w.later(LINK_LASTS);
    let late = claiming(&mut w, 3);
    assert_eq!(w.refused(&anonymous(), late), "not_found");
    offer(&mut w, 4);
    w.later(LINK_LASTS - 1);
    let second = claiming(&mut w, 4);
    let first = claiming(&mut w, 4);
    w.must(&anonymous(), first.clone());
    for again in [first, second, old] {
        assert_eq!(w.refused(&anonymous(), again), "not_found", "one claim wins");
    }
    let offered = Command::OfferFirstRun { digest: link(5) };
    assert_eq!(w.refused(&Caller::system(), offered), "wrong_state");
    assert_eq!(w.state.organisations.iter().count(), 1);
}

#[test]
fn t54_only_comity_offers_a_link_and_only_a_stranger_claims_with_it() {
    let mut w = World::empty(5);
    let offered = Command::OfferFirstRun { digest: link(9) };
    assert_eq!(w.refused(&anonymous(), offered.clone()), "not_found");
    offer(&mut w, 1);
    let claim = claiming(&mut w, 1);
    assert_eq!(w.refused(&Caller::system(), claim.clone()), "not_found");
    // A first key that was made at the terminal ends the link, and so does a restore.
    let mut keyed = w.clone();
    let operate = keyed.key(&Caller::system(), KeyUse::Operate, None);
    assert_eq!(keyed.refused(&anonymous(), claim.clone()), "not_found");
    for caller in [by_key(operate), anonymous()] {
        assert_eq!(keyed.refused(&caller, offered.clone()), "not_found");
    }
    let restore = Command::Restore { fork: 7, erased: vec![], keep_people: true };
    w.must(&Caller { principal: Principal::System, door: Door::Cli }, restore);
    assert_eq!(w.refused(&anonymous(), claim), "not_found");
}

#[test]
fn a_claim_that_a_rule_refuses_changes_nothing_and_leaves_the_link() {
    let mut w = World::empty(6);
    offer(&mut w, 1);
    let good = claim(&mut w, 1);
    let bad = [
        Claim { organisation_id: "org_1".into(), ..good.clone() },
        Claim { organisation_id: String::new(), ..good.clone() },
        Claim { organisation_name: "\u{202e}yaB aniraM".into(), ..good.clone() },
        Claim { admin_id: "a\nb".into(), ..good.clone() },
        Claim { admin_name: String::new(), ..good.clone() },
        Claim { admin_email: "nobody".into(), ..good.clone() },
    ];
    let rows = w.rows.len();
    for claim in bad {
        let what = format!("{claim:?}");
        let code = w.refused(&anonymous(), Command::ClaimFirstRun(Box::new(claim)));
        assert_eq!(code, "invalid", "{what}");
    }
    assert_eq!((w.rows.len(), is_unclaimed(&w.state)), (rows, true));
    w.must(&anonymous(), Command::ClaimFirstRun(Box::new(good)));
}
