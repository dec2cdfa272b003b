//! Where the link of an invitation leads: looking, registering, yes and no.

use comity_app::tokens::{Kind, Secret};
use comity_domain::command::{Command, Invite, Inviting, Sealed};
use comity_domain::consent;
use comity_domain::grant::Amending;
use comity_domain::ids::{Digest32, GrantId};
use comity_domain::organisation::{Accounts, Settings};

use crate::house::{Browser, House, PASSWORD};

const PAGE: &str = "/console/invitation";

fn nobody() -> Browser {
    Browser { cookie: String::new() }
}

/// Harbor Help may invite people from outside to Marina Bay.
fn open(house: &House) -> GrantId {
    let grant = house.granted();
    let (ana, organisation) = (house.caller("ana@marina"), house.org("marina"));
    let own = house.app.state().organisations.get(organisation).unwrap().settings.clone();
    let settings = Settings { allow_external: true, ..own };
    house.run(&ana, Command::ChangeSettings { organisation, settings, version: None });
    let amending = Amending { allow_external: Some(true), ..Amending::default() };
    let state = house.app.state();
    let known = state.grants.get(grant).unwrap();
    let shown = consent::amended(&state, grant, known, &amending, house.now()).unwrap();
    house.run(&ana, Command::Amend { grant, amending, summary: shown.hash() });
    grant
}

/// Invites an address by a link that the test knows.
fn invited(house: &House, grant: GrantId, email: &str) -> String {
    let secret = Secret::new(Kind::Invitation);
    let roles = vec![house.app.state().grants.get(grant).unwrap().roles[0].role];
    let invite = Invite {
        grant,
        email: email.into(),
        recipient: Digest32::of(email.as_bytes()),
        giving: Inviting { roles, accounts: Accounts::All, ends_at: None },
        token: secret.digest(),
        sealed: Sealed(vec![1; 8]),
    };
    house.run(&house.caller("pia@harbor"), Command::Invite(Box::new(invite)));
    secret.reveal().to_owned()
}

#[test]
fn e2_the_link_leads_to_registering_signing_in_and_a_yes() {
    let house = House::new();
    let grant = open(&house);
    let token = invited(&house, grant, "kai@elsewhere.example");
    house.get(&nobody(), PAGE).is(200).says("data-from-fragment=\"token\"").is_silent(&token);
    let seen = house.send(&nobody(), PAGE, &[("token", &token)]);
    seen.is(200).says("invites you to work in").says("Register").is_silent("kai@");
    let weak = [("token", &*token), ("name", "Kai <b>"), ("password", "short")];
    let weak = house.send(&nobody(), "/console/invitation/register", &weak);
    weak.is(422).is_silent("Kai <b>");
    let fields = [("token", &*token), ("name", "Kai Kranz"), ("password", PASSWORD)];
    let done = house.send(&nobody(), "/console/invitation/register", &fields);
    assert_eq!(done.is(303).to(), "/console/sign-in?back=/console/invitation");
    let kai = house.browser("kai@elsewhere");
    let seen = house.send(&kai, PAGE, &[("token", &token)]);
    seen.is(200).says("You are signed in as Kai Kranz");
    // Without the key of the form nothing is accepted.
    house.send(&kai, "/console/invitation/accept", &[("token", &token)]).is(403);
    let key = seen.value("form_key");
    let accept = [("form_key", &*key), ("token", &*token)];
    let done = house.send(&kai, "/console/invitation/accept", &accept);
    assert_eq!(done.is(303).to(), "/console/tenants");
    house.get(&kai, "/console/tenants").is(200).says("Marina Bay");
    house.send(&kai, "/console/invitation/accept", &accept).is(422).says("accepted");
    for path in ["grants-received", "asking", "inbox"] {
        let path = format!("/console/o/{}/{path}", house.org("harbor"));
        house.get(&kai, &path).is(404);
    }
}

#[test]
fn e3_a_no_takes_no_account_and_another_address_no_yes() {
    let house = House::new();
    let grant = open(&house);
    let token = invited(&house, grant, "kai@elsewhere.example");
    let ana = house.browser("ana@marina");
    let key = house.send(&ana, PAGE, &[("token", &token)]).value("form_key");
    let accept = [("form_key", &*key), ("token", &*token)];
    house.send(&ana, "/console/invitation/accept", &accept).is(422).is_silent("kai@");
    let said = house.send(&nobody(), "/console/invitation/decline", &[("token", &token)]);
    said.is(200).says("This invitation was declined.").is_silent("Register");
    house.send(&nobody(), "/console/invitation/decline", &[("token", &token)]).is(422);
    for wrong in ["nonsense", "cmt_invite_nonsense", ""] {
        for path in [PAGE, "/console/invitation/decline", "/console/invitation/stop"] {
            house.send(&nobody(), path, &[("token", wrong)]).is(422).is_silent("Marina");
        }
    }
    house.get(&nobody(), "/console/invitation/stop").is(200).says("Get no more invitations");
}
