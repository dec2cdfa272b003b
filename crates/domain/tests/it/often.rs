//! How often a partner may ask (T2), on every node and after every restart: the log knows it.

use comity_domain::command::Command;
use comity_domain::ids::{CommandId, Digest32, Ids};
use comity_domain::kernel;
use comity_domain::offer::MOST_A_DAY;
use comity_domain::request::MOST_ASKED;
use comity_domain::time::{DAY, MINUTE};

use crate::world::World;

#[test]
fn t02_a_partner_asks_twenty_times_a_day_whomever_it_asks_and_a_wrong_id_says_the_same() {
    let mut w = World::new();
    let provider = w.organisation("harbor-help", "Harbor Help");
    let pia = w.admin(provider, "pia");
    let pia = w.sign_in(pia);
    let customers: Vec<_> =
        (0..=MOST_ASKED).map(|n| w.organisation(&format!("c{n}"), "Customer")).collect();
    let (last, asked) = customers.split_last().unwrap();
    for customer in asked {
        let ask = w.ask_spec(provider, *customer);
        w.ask(&pia, ask);
        w.later(MINUTE);
    }
    let mut right = w.ask_spec(provider, *last);
    let mut wrong = right.clone();
    wrong.code = Digest32([9; 32]);
    assert_eq!(w.refused(&pia, Command::Ask(right.clone())), "asked_too_often");
    assert_eq!(w.refused(&pia, Command::Ask(wrong.clone())), "asked_too_often");
    // What is wrong with the question itself is said first, as always.
    right.reason = String::new();
    assert_eq!(w.refused(&pia, Command::Ask(right.clone())), "invalid");
    right.reason = "Sails".into();
    // Another partner, and the same one as soon as the first is a day old.
    let other = w.organisation("sailsupport", "Sail Support");
    let sara = w.admin(other, "sara");
    let sara = w.sign_in(sara);
    let ask = w.ask_spec(other, *last);
    w.ask(&sara, ask);
    w.later(DAY - i64::try_from(MOST_ASKED).unwrap() * MINUTE - 1);
    let person = pia.person().unwrap();
    let pia = w.sign_in(person);
    assert_eq!(w.refused(&pia, Command::Ask(right.clone())), "asked_too_often");
    w.later(1);
    assert_eq!(w.refused(&pia, Command::Ask(wrong)), "not_found");
    w.ask(&pia, right.clone());
    assert_eq!(w.refused(&pia, Command::Ask(right)), "asked_too_often");
    // A restart has not forgotten it.
    let state = w.replayed();
    let again = w.ask_spec(provider, *last);
    let (now, id) = (w.state.at, CommandId(99));
    let ids = &mut Ids::new([7; 32]);
    let decided = kernel::decide(&state, &pia, id, Command::Ask(again), now, ids);
    assert_eq!(decided.unwrap_err().code(), "asked_too_often");
}

#[test]
fn t02_a_customer_offers_a_partner_something_fifty_times_a_day_withdrawn_or_not() {
    let mut w = World::new();
    let (customer, provider) = (w.organisation("marina", "Marina"), w.organisation("help", "Help"));
    let keeper = w.role(customer, "keeper", &["boats:*"]);
    let (ana, pia) = (w.admin(customer, "ana"), w.admin(provider, "pia"));
    let (by_ana, by_pia) = (w.sign_in(ana), w.sign_in(pia));
    let to = (customer, w.partner_id(&by_pia, provider));
    let terms = w.terms(&[keeper]);
    for _ in 0..MOST_A_DAY {
        let request = w.offer(&by_ana, to, terms.clone());
        w.must(&by_ana, Command::CancelRequest { request });
    }
    let again = w.offering(to, terms.clone());
    assert_eq!(w.refused(&by_ana, again.clone()), "too_many_offers");
    // Another partner is another matter, and so is tomorrow.
    let other = w.organisation("sail", "Sail");
    let sara = w.admin(other, "sara");
    let by_sara = w.sign_in(sara);
    let other = (customer, w.partner_id(&by_sara, other));
    w.offer(&by_ana, other, terms.clone());
    w.later(DAY);
    let by_ana = w.sign_in(ana);
    w.offer(&by_ana, to, terms);
}
