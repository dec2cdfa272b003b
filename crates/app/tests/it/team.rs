//! *Automatically add partner users* at the size of an IT provider's support desk: whoever joins or
//! leaves is in or out of every customer by one row (E6, T27).

use std::time::{Duration, Instant};

use comity_app::node::Done;
use comity_domain::auto::AutoSpec;
use comity_domain::command::{Ask, Caller, Command};
use comity_domain::consent::Terms;
use comity_domain::ids::{GrantId, OrganisationId, PersonId};
use comity_domain::role::Mode;
use comity_domain::time::{DAY, Days};

use crate::site::Site;
use crate::world::World;

/// Brokers with so many members, all of them on a grant of each of so many customers.
struct Desk {
    site: Site,
    brokers: OrganisationId,
    grants: Vec<GrantId>,
    first: OrganisationId,
    by_mia: Caller,
}

fn desk(customers: usize, members: usize) -> Desk {
    let mut w = World::seeded(17);
    let brokers = w.organisation("brokers", "Brokers");
    let chief = w.admin(brokers, "chief");
    for n in 0..members {
        w.member(brokers, &format!("m{n}"), None);
    }
    let mia = w.member(brokers, "mia", None);
    let (mut grants, mut first) = (Vec::new(), brokers);
    for n in 0..customers {
        // So many may be asked a day.
        if n > 0 && n % 20 == 0 {
            w.later(DAY);
        }
        let customer = w.organisation(&format!("harbour{n}"), &format!("Harbour {n}"));
        first = if n == 0 { customer } else { first };
        let keeper = w.role(customer, "keeper", &["boats:*"]);
        let boss = w.admin(customer, "boss");
        let (by_boss, by_chief) = (w.sign_in(boss), w.sign_in(chief));
        let ask = Ask { days: Days(365), ..w.ask_spec(brokers, customer) };
        let request = w.ask(&by_chief, ask);
        let terms = Terms { days: Days(365), ..w.terms(&[keeper]) };
        let grant = w.approve(&by_boss, request, terms);
        let set = w.set_auto(grant, Some(AutoSpec { roles: vec![keeper], only: None })).unwrap();
        w.must(&by_chief, set);
        grants.push(grant);
    }
    let by_mia = w.sign_in(mia);
    Desk { site: Site::of(w), brokers, grants, first, by_mia }
}

impl Desk {
    fn run(&self, caller: &Caller, command: Command) -> (Done, Duration) {
        let began = Instant::now();
        let done = self.site.app.node().run_blocking(caller.clone(), command).unwrap();
        (done, began.elapsed())
    }

    fn places(&self, person: PersonId) -> usize {
        self.site.app.state().grants_of(person).count()
    }
}

fn events(done: &Done) -> usize {
    done.row.as_ref().unwrap().events.len()
}

fn joins_and_leaves(customers: usize, members: usize, most: Duration) {
    let mut desk = desk(customers, members);
    let provision = desk.site.look().provision();
    let put = desk.site.look().member_spec(desk.brokers, "vera", None);
    let (done, joined) = desk.run(&provision, Command::PutMember(put));
    let vera = desk.site.look().person(desk.brokers, "vera");
    assert_eq!(desk.places(vera), customers);
    assert!(desk.grants.iter().all(|g| done.state.assignment_row(*g, vera).is_some()));
    assert_eq!(events(&done), 2, "a person and a member, and no line for a grant");
    // Mia is inside when she leaves.
    let mia = desk.site.look().person(desk.brokers, "mia");
    let mut enter = desk.site.look().enter_spec(desk.first, Mode::Direct);
    enter.grant = desk.grants.first().copied();
    let token = enter.token;
    desk.site.must(&desk.by_mia, Command::Enter(enter));
    let remove = Command::RemoveMember { organisation: desk.brokers, external: "mia".into() };
    let (done, left) = desk.run(&provision, remove);
    assert_eq!((desk.places(mia), desk.places(vera)), (0, customers));
    assert!(desk.grants.iter().all(|g| done.state.assignment_row(*g, mia).is_none()));
    let session = done.state.session_by_token(token).unwrap();
    assert!(!done.state.sessions.get(session).unwrap().is_active(desk.site.clock.now()));
    assert_eq!(events(&done), 2, "left, and out of the one session");
    println!("{customers} customers, {members} members: joins {joined:?}, leaves {left:?}");
    assert!(joined < most && left < most, "joins {joined:?}, leaves {left:?}");
    desk.site.check();
}

#[test]
fn e6_t27_one_row_lets_a_member_in_everywhere_and_out_everywhere() {
    joins_and_leaves(40, 20, Duration::from_secs(5));
}

/// The size of the issue: `cargo test -p comity-app --release e6_a_thousand -- --ignored --nocapture`.
#[test]
#[ignore = "builds a thousand customers"]
fn e6_a_thousand_customers_take_a_member_in_and_let_one_go_within_50_ms() {
    let most = Duration::from_millis(if cfg!(debug_assertions) { 1_000 } else { 50 });
    joins_and_leaves(1_000, 200, most);
}
