//! Who is told outside, of what, and who decides over it.

use std::collections::BTreeSet;

use comity_domain::command::{Caller, Command, FreshSecret, Sealed, WebhookSpec};
use comity_domain::event::{Event, Row};
use comity_domain::event_name;
use comity_domain::ids::{Digest32, OrganisationId, WebhookId};
use comity_domain::organisation::Standing;
use comity_domain::outbox::{Push, pushes};
use comity_domain::person::PortalRole;
use comity_domain::role::Mode;
use comity_domain::text::Subject;
use comity_domain::time::{DAY, MINUTE};
use comity_domain::webhook::{MOST, Telling};

use crate::world::World;

fn spec(kinds: Option<&[&str]>) -> WebhookSpec {
    WebhookSpec {
        url: "https://hooks.example.com/in".into(),
        description: None,
        kinds: kinds.map(|kinds| kinds.iter().map(ToString::to_string).collect()),
    }
}

fn secret(n: u8) -> FreshSecret {
    FreshSecret { digest: Digest32([n; 32]), sealed: Sealed(vec![n]) }
}

fn make(owner: Option<OrganisationId>, kinds: Option<&[&str]>) -> Command {
    Command::MakeWebhook { owner, spec: spec(kinds), secret: secret(1) }
}

struct Told {
    w: World,
    harbour: OrganisationId,
    brokers: OrganisationId,
    by_boss: Caller,
    by_chief: Caller,
}

fn told() -> Told {
    let mut w = World::new();
    let harbour = w.organisation("harbour", "Harbour");
    let brokers = w.organisation("brokers", "Brokers");
    let (boss, chief) = (w.admin(harbour, "boss"), w.admin(brokers, "chief"));
    let (by_boss, by_chief) = (w.sign_in(boss), w.sign_in(chief));
    Told { w, harbour, brokers, by_boss, by_chief }
}

impl Told {
    fn hook(&mut self, caller: &Caller, owner: Option<OrganisationId>) -> WebhookId {
        self.w.must(caller, make(owner, None));
        self.w.state.webhooks_of(owner).last().unwrap()
    }

    /// What a command makes to be told, with its row.
    fn pushed(&mut self, caller: &Caller, command: Command) -> (Row, Vec<Push>) {
        let before = self.w.state.clone();
        let row = self.w.must(caller, command).unwrap();
        let told = pushes(&before, &row, &self.w.state);
        (row, told)
    }
}

#[test]
fn every_event_has_the_name_under_which_it_is_stored() {
    let mut w = told();
    w.hook(&w.by_boss.clone(), Some(w.harbour));
    for recorded in w.w.rows.iter().flat_map(|r| &r.events) {
        let told = recorded.event.told();
        assert_eq!(told["event"], recorded.event.name());
    }
    let names: BTreeSet<_> = event_name::ALL.iter().collect();
    assert_eq!(names.len(), event_name::ALL.len());
}

#[test]
fn inv12_a_webhook_is_told_what_its_owner_reads_and_nothing_else() {
    let mut t = told();
    let (by_boss, by_chief, operate) = (t.by_boss.clone(), t.by_chief.clone(), t.w.operate());
    let ours = t.hook(&by_boss, Some(t.harbour));
    let theirs = t.hook(&by_chief, Some(t.brokers));
    let all = t.hook(&operate, None);
    // Asking makes an event that only the customer reads: each counts for itself.
    let ask = t.w.ask_spec(t.brokers, t.harbour);
    let (row, told) = t.pushed(&by_chief, Command::Ask(ask));
    assert!(row.events.len() > 1);
    for (hook, owner) in [(ours, Some(t.harbour)), (theirs, Some(t.brokers)), (all, None)] {
        let read: Vec<&str> = row
            .events
            .iter()
            .filter(|e| owner.is_none_or(|o| e.readers.contains(&o)))
            .map(|e| e.event.name())
            .collect();
        let got: Vec<(u32, &str)> =
            told.iter().filter(|p| p.recipient == hook.0).map(|p| (p.index, p.kind)).collect();
        assert_eq!(got, (0u32..).zip(read).collect::<Vec<_>>(), "{owner:?}");
    }
    assert!(told.iter().all(|p| p.recipient != theirs.0 || p.kind != "request_addressed"));
    // What is nobody else's goes to the platform alone.
    let standing = Standing::Suspended;
    let brokers = t.brokers;
    let (_, told) = t.pushed(&operate, Command::SetStanding { organisation: brokers, standing });
    assert!(told.iter().all(|p| p.recipient != theirs.0), "suspended: nothing is told any more");
    assert!(told.iter().any(|p| p.recipient == all.0));
}

#[test]
fn inv30_each_ending_is_told_once_to_each_recipient() {
    let mut t = told();
    let (by_boss, by_chief, operate) = (t.by_boss.clone(), t.by_chief.clone(), t.w.operate());
    let keeper = t.w.role(t.harbour, "keeper", &["boats:*"]);
    let rita = t.w.member(t.brokers, "rita", None);
    let spec = t.w.ask_spec(t.brokers, t.harbour);
    let request = t.w.ask(&by_chief, spec);
    let terms = t.w.terms(&[keeper]);
    let grant = t.w.approve(&by_boss, request, terms);
    t.w.assign(&by_chief, grant, rita, &[keeper]);
    let by_rita = t.w.sign_in(rita);
    t.w.enter(&by_rita, t.harbour, Mode::Direct);
    let hooks = [
        t.hook(&by_boss, Some(t.harbour)),
        t.hook(&by_chief, Some(t.brokers)),
        t.hook(&operate, None),
    ];
    t.w.must(&operate, make(None, Some(&["session_ended"])));
    let choosy = t.w.state.webhooks_of(None).last().unwrap();
    let (row, told) = t.pushed(&by_boss, Command::Revoke { grant });
    let ended = |p: &&Push| p.kind == "session_ended";
    assert!(row.events.iter().any(|e| matches!(e.event, Event::SessionEnded { .. })));
    for hook in hooks.into_iter().chain([choosy]) {
        assert_eq!(told.iter().filter(ended).filter(|p| p.recipient == hook.0).count(), 1);
    }
    assert_eq!(told.iter().filter(|p| p.recipient == choosy.0).count(), 1, "of nothing else");
    let once: BTreeSet<_> = told.iter().map(|p| (p.recipient, p.index)).collect();
    assert_eq!(once.len(), told.len());
}

#[test]
fn t57_who_manages_webhooks_and_that_it_is_on_record() {
    let mut t = told();
    let (by_boss, by_chief, operate) = (t.by_boss.clone(), t.by_chief.clone(), t.w.operate());
    let help = t.w.member(t.harbour, "help", Some(PortalRole::CustomerSupport));
    let by_help = t.w.sign_in(help);
    let owner = Some(t.harbour);
    assert_eq!(t.w.refused(&by_help, make(owner, None)), "forbidden");
    assert_eq!(t.w.refused(&by_chief, make(owner, None)), "not_found");
    assert_eq!(t.w.refused(&operate, make(owner, None)), "forbidden");
    assert_eq!(t.w.refused(&by_boss, make(None, None)), "forbidden");
    let webhook = t.hook(&by_boss, owner);
    let second = t.hook(&by_boss, owner);
    let platform = t.hook(&operate, None);
    // Another's is not there, whoever asks.
    for (caller, owner, webhook) in [
        (&by_chief, Some(t.brokers), webhook),
        (&by_boss, owner, platform),
        (&operate, None, webhook),
    ] {
        let command = Command::RemoveWebhook { owner, webhook };
        assert_eq!(t.w.refused(caller, command), "not_found");
    }
    // The one that is turned off or removed cannot be told; the others are.
    let off = Command::ChangeWebhook { owner, webhook, spec: spec(None), active: false };
    let (_, told) = t.pushed(&by_boss, off);
    assert!(told.iter().any(|p| p.recipient == second.0 && p.kind == "webhook_standing"));
    assert!(told.iter().all(|p| p.recipient != webhook.0));
    assert_eq!(t.w.refused(&by_boss, Command::TestWebhook { owner, webhook }), "wrong_state");
    let (row, told) = t.pushed(&by_boss, Command::RemoveWebhook { owner, webhook });
    assert!(told.iter().any(|p| p.recipient == second.0 && p.kind == "webhook_removed"));
    assert_eq!(row.events[0].readers, [t.harbour]);
    assert_eq!(row.acting, [t.harbour]);
    // A sign-in that is not fresh changes nothing.
    t.w.later(6 * MINUTE);
    let remove = Command::RemoveWebhook { owner, webhook: second };
    assert_eq!(t.w.refused(&by_boss, remove), "fresh_sign_in_required");
}

#[test]
fn there_are_ten_for_an_owner_and_they_go_with_it() {
    let mut t = told();
    let (by_boss, operate, owner) = (t.by_boss.clone(), t.w.operate(), Some(t.harbour));
    for _ in 0..MOST {
        t.w.must(&by_boss, make(owner, None));
    }
    assert_eq!(t.w.refused(&by_boss, make(owner, None)), "wrong_state");
    let url = t.w.state.webhooks.iter().next().unwrap().1.url;
    assert!(t.w.state.words.get(url).is_some());
    let (organisation, standing) = (t.harbour, Standing::Closed);
    t.w.must(&operate, Command::SetStanding { organisation, standing });
    assert!(t.w.state.webhooks.is_empty());
    assert!(t.w.state.words.get(url).is_none());
    assert!(t.w.loaded() == t.w.state);
    assert!(t.w.replayed() == t.w.state);
}

#[test]
fn a_rotation_keeps_the_old_secret_for_a_day_and_no_third() {
    let mut t = told();
    let (operate, owner) = (t.w.operate(), None);
    let webhook = t.hook(&operate, owner);
    t.w.must(&operate, Command::RotateWebhook { owner, webhook, secret: secret(2) });
    let digests = |w: &World| -> Vec<u8> {
        w.state.webhooks.get(webhook).unwrap().secrets(w.now).map(|d| d.0[0]).collect()
    };
    assert_eq!(digests(&t.w), [2, 1]);
    t.w.must(&operate, Command::RotateWebhook { owner, webhook, secret: secret(3) });
    assert_eq!(digests(&t.w), [3, 2]);
    t.w.later(DAY);
    assert_eq!(digests(&t.w), [3]);
}

#[test]
fn t43_what_is_no_address_or_no_event_is_refused() {
    let mut t = told();
    let operate = t.w.operate();
    for url in ["", "hooks.example.com", "https://a b.example/", "https://a\r\nb/", "ftp://a/"] {
        let spec = WebhookSpec { url: url.into(), description: None, kinds: None };
        let command = Command::MakeWebhook { owner: None, spec, secret: secret(1) };
        assert_eq!(t.w.refused(&operate, command), "invalid", "{url:?}");
    }
    for kinds in [&[][..], &["grant_revoked"], &["grant_ended", "*"]] {
        assert_eq!(t.w.refused(&operate, make(None, Some(kinds))), "invalid", "{kinds:?}");
    }
}

#[test]
fn only_comity_turns_off_what_takes_nothing_and_an_owner_turns_it_on() {
    let mut t = told();
    let (operate, owner) = (t.w.operate(), None);
    let webhook = t.hook(&operate, owner);
    let stop = |standing| Command::StopWebhook { webhook, standing };
    assert_eq!(t.w.refused(&operate, stop(Telling::Failing)), "not_found");
    t.w.must(&Caller::system(), stop(Telling::Failing)).unwrap();
    assert!(t.w.must(&Caller::system(), stop(Telling::Gone)).is_none(), "it is off already");
    let on = Command::ChangeWebhook { owner, webhook, spec: spec(None), active: true };
    let (_, told) = t.pushed(&operate, on);
    assert!(told.iter().any(|p| p.recipient == webhook.0), "it is told that it is told again");
}

#[test]
fn t48_where_a_webhook_led_is_erased_once_it_is_gone() {
    let mut t = told();
    let (by_boss, owner) = (t.by_boss.clone(), Some(t.harbour));
    let webhook = t.hook(&by_boss, owner);
    let erase = Command::EraseWords { subject: Subject::Webhook(webhook) };
    let provision = t.w.provision();
    assert_eq!(t.w.refused(&provision, erase.clone()), "in_use");
    t.w.must(&by_boss, Command::RemoveWebhook { owner, webhook });
    t.w.must(&provision, erase);
    assert!(!t.w.state.words.names(Subject::Webhook(webhook)));
}
