//! The mail of an invitation: read from the relay, and its links followed.

use comity_domain::command::Door;
use comity_domain::invitation::InvitationPhase;
use comity_domain::time::{DAY, HOUR, MINUTE};

use crate::mail::{Arrived, Does, Relay, later, site, until};
use crate::site::{Broker, Cast, Site, cast};

const KAI: &str = "kai@elsewhere.example";

/// A grant whose partner may invite, and a relay that every mail goes to.
fn set(plan: &[Does]) -> (Site, Relay, Cast, comity_domain::ids::GrantId) {
    let (w, cast) = cast(1);
    let (mut site, relay) = site(w, &[]);
    let grant = site.open_grant(&cast, &cast.brokers[0]);
    relay.waits_for(5); // asked: two of the harbour; approved: they, and who asked
    relay.will(plan);
    (site, relay, cast, grant)
}

fn invites(
    site: &Site,
    (cast, broker): (&Cast, &Broker),
    grant: comity_domain::ids::GrantId,
    email: &str,
) -> comity_app::node::Done {
    let invite = site.app.invitation(grant, email, site.inviting(cast)).unwrap();
    site.must(&broker.by_chief, invite)
}

fn to(relay: &Relay, email: &str) -> Vec<Arrived> {
    relay.arrived().into_iter().filter(|m| m.to == email && m.taken).collect()
}

/// What stands behind the `#` of a link of this page.
fn link(mail: &Arrived, page: &str) -> String {
    // What stands under the signature's line is still as it was sent.
    let shown = mail.shown().replace("=\r\n", "");
    let before = format!("https://access.example.com/console/{page}#");
    let after = shown.split_once(&before).unwrap_or_else(|| panic!("{page} in {shown}")).1;
    let token = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    after.chars().take_while(|c| token(*c)).collect()
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn e2_t34_the_mail_holds_no_word_of_anybodys_and_its_link_leads_in() {
    let (mut site, relay, cast, grant) = set(&[]);
    let broker = &cast.brokers[0];
    invites(&site, (&cast, broker), grant, KAI);
    until("the mail", || to(&relay, KAI).len() == 1);
    let mail = to(&relay, KAI).remove(0);
    assert_eq!(mail.header("Subject"), "You are invited to work in a customer's tenant");
    let shown = mail.shown();
    for word in ["Harbour", "Broker", "Member", "chief", "boss", "keeper"] {
        assert!(!shown.contains(word) && !mail.text.contains(word), "{word}: {shown}");
    }
    assert_eq!(relay.arrived().len(), 6, "and nobody else is mailed about it");
    let token = link(&mail, "invitation");
    // Nowhere on disk, not in the log, and in no answer: the mail alone shows it.
    let folder = site.folder.path().join("data");
    for file in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap_or_default();
        assert!(!bytes.windows(token.len()).any(|w| w == token.as_bytes()));
    }
    let seen = site.app.look_at_invitation(&token).unwrap();
    assert_eq!((seen.phase, seen.customer), (InvitationPhase::Pending, cast.harbour));
    // Registered, signed in with the password, accepted.
    let password = "correct horse battery staple";
    block(site.app.register_invited(Door::Api, &token, "Kai Kranz", password.into())).unwrap();
    let entered = block(site.app.sign_in(Door::Api, KAI, password.into())).unwrap();
    let comity_app::app::Entered::In(signed_in) = entered else { panic!("{entered:?}") };
    let kai = site.app.caller(signed_in.token.reveal(), Door::Api).unwrap();
    site.must(&kai, site.app.accepting(&token).unwrap());
    assert!(site.app.state().assignment_row(grant, signed_in.person).is_some());
    until("both sides are told", || relay.arrived().len() == 6 + 3);
    later(&mut site, MINUTE);
    site.check();
}

#[test]
fn e2_a_mail_that_is_sent_again_holds_another_link() {
    let (mut site, relay, cast, grant) = set(&[]);
    let broker = &cast.brokers[0];
    let done = invites(&site, (&cast, broker), grant, KAI);
    let id = done.state.invitations_to(grant).next().unwrap();
    until("the mail", || to(&relay, KAI).len() == 1);
    later(&mut site, HOUR);
    site.must(&broker.by_chief, site.app.invitation_again(grant, id));
    until("the second mail", || to(&relay, KAI).len() == 2);
    let [first, second] = to(&relay, KAI).try_into().unwrap();
    let (old, new) = (link(&first, "invitation"), link(&second, "invitation"));
    assert!(site.app.look_at_invitation(&old).is_err());
    assert_eq!(site.app.look_at_invitation(&new).unwrap().invitation, id);
    block(site.app.decline_invitation(Door::Api, &new)).unwrap();
    assert_eq!(site.app.look_at_invitation(&new).unwrap().phase, InvitationPhase::Declined);
    let kept = || site.app.reader().recipient_secret(id.0, digest(&new));
    assert_eq!(kept().unwrap(), None, "what is over keeps no link, not even sealed");
    site.check();
}

fn digest(token: &str) -> comity_domain::ids::Digest32 {
    comity_domain::ids::Digest32::of(token.as_bytes())
}

#[test]
fn t34_who_wants_no_more_of_it_gets_no_more_from_anybody() {
    let (mut site, relay, cast, grant) = set(&[]);
    let broker = &cast.brokers[0];
    invites(&site, (&cast, broker), grant, KAI);
    until("the mail", || to(&relay, KAI).len() == 1);
    let mail = to(&relay, KAI).remove(0);
    let ticket = link(&mail, "invitation/stop");
    for wrong in ["", "nonsense", &link(&mail, "invitation"), &ticket[1..]] {
        assert!(block(site.app.stop_invitations(wrong)).is_err(), "{wrong}");
    }
    // Also long after, and once is as good as twice.
    later(&mut site, 3 * DAY);
    block(site.app.stop_invitations(&ticket)).unwrap();
    block(site.app.stop_invitations(&ticket)).unwrap();
    let id = site.app.state().invitations_to(grant).next().unwrap();
    let rows = site.app.reader().rows(None, 0, usize::MAX).unwrap();
    let said = rows.last().unwrap();
    assert!(said.words.is_empty(), "no word of the address is kept");
    assert!(comity_domain::invitation::address(&site.app.state(), id, site.app.now()).is_none());
    site.check();
}

#[test]
fn t34_an_address_that_takes_no_mail_is_sent_none_again() {
    let refusals = [Does::AnswersRcpt(550); 5];
    let (mut site, relay, cast, grant) = set(&refusals);
    let broker = &cast.brokers[0];
    let done = invites(&site, (&cast, broker), grant, KAI);
    let id = done.state.invitations_to(grant).next().unwrap();
    let recipient = done.state.invitations.get(id).unwrap().recipient;
    // Tried again after 1, 3, 6 and 12 hours: the relay may be the one that is wrong.
    for minutes in [0, 66, 192, 384, 762] {
        later(&mut site, minutes * MINUTE);
        std::thread::sleep(std::time::Duration::from_millis(700));
    }
    until("it is noted", || site.app.state().is_suppressed(recipient));
    assert!(to(&relay, KAI).is_empty());
    site.check();
}
