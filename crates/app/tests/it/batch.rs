//! What one batch promises: endings first, neighbours seen, refusals alone.

use comity_domain::command::{Command, Principal};
use comity_domain::lock::LockTarget;
use comity_domain::permission::Permissions;
use comity_domain::refusal::Reason;
use comity_domain::role::Mode;

use crate::site::{Site, cast, code};

fn role(
    site: &Site,
    harbour: comity_domain::ids::OrganisationId,
    code: &str,
    permission: &str,
) -> (comity_domain::command::Caller, Command) {
    let permissions = Permissions::parse("permissions", [permission]).unwrap();
    (
        site.w.provision(),
        Command::PutRole {
            organisation: harbour,
            code: code.into(),
            name: "Painter".into(),
            permissions,
        },
    )
}

#[test]
fn endings_go_first_and_the_rest_stays_in_order() {
    let (w, cast) = cast(1);
    let (mut site, broker) = (Site::of(w), &cast.brokers[0]);
    let grant = site.grant(&cast, broker);
    let (token, _) = site.enter(broker, cast.harbour, grant);
    let (never, enter) = site.wish(cast.harbour, grant, Mode::Direct);
    let answers = site.in_one_batch(vec![
        role(&site, cast.harbour, "a", "boats:paint"),
        (broker.by_rita.clone(), enter),
        role(&site, cast.harbour, "b", "boats:paint"),
        (
            cast.by_boss.clone(),
            Command::Lock {
                customer: cast.harbour,
                target: LockTarget::Person(broker.chief),
                reason: None,
            },
        ),
        (cast.by_boss.clone(), Command::Revoke { grant }),
    ]);
    let codes: Vec<&str> = answers.iter().map(code).collect();
    assert_eq!(codes[2..], ["ok", "ok", "ok"]);
    assert!(["not_found", "no_access"].contains(&codes[1]), "{}", codes[1]);
    let seq = |n: usize| answers[n].as_ref().unwrap().seq;
    assert!(seq(3) < seq(4) && seq(4) < seq(0) && seq(0) < seq(2), "lock, revoke, a, b");
    let heads: Vec<u64> = answers.iter().flatten().map(|d| d.state.seq).collect();
    assert!(heads.iter().all(|h| *h == heads[0]), "one batch: {heads:?}");
    assert_eq!(site.evaluate(&token, "boats:read").reason, Reason::Revoked);
    assert_eq!(site.evaluate(&never, "boats:read").reason, Reason::SessionUnknown);
    site.check();
}

#[test]
fn a_command_sees_its_neighbours() {
    let (w, cast) = cast(1);
    let (mut site, broker) = (Site::of(w), &cast.brokers[0]);
    let grant = site.grant(&cast, broker);
    let (first, enter) = site.wish(cast.harbour, grant, Mode::ActAs);
    let (second, again) = site.wish(cast.harbour, grant, Mode::ActAs);
    let answers = site.in_one_batch(vec![
        (broker.by_rita.clone(), enter),
        role(&site, cast.harbour, "painter", "boats:paint"),
        role(&site, cast.harbour, "painter", "boats:varnish"),
        (broker.by_rita.clone(), again),
        role(&site, cast.harbour, "painter", "boats:varnish"),
    ]);
    let codes: Vec<&str> = answers.iter().map(code).collect();
    assert_eq!(codes, ["ok", "ok", "ok", "session_exists", "ok"]);
    let kinds: Vec<usize> =
        answers.iter().flatten().map(|d| d.row.as_ref().map_or(0, |r| r.events.len())).collect();
    assert_eq!(kinds, [1, 1, 1, 0], "the last one changed nothing, so nothing happened");
    let state = site.app.state();
    let painter = state.role_by_code(cast.harbour, "painter").unwrap();
    assert_eq!(state.roles.get(painter).unwrap().newest(), 2);
    assert!(site.evaluate(&first, "boats:read").is_yes());
    assert_eq!(site.evaluate(&second, "boats:read").reason, Reason::SessionUnknown);
    site.check();
}

#[test]
fn a_refusal_disturbs_no_neighbour() {
    let (w, cast) = cast(3);
    let (mut site, harbour) = (Site::of(w), cast.harbour);
    let before = site.app.state().seq;
    let mut commands = Vec::new();
    for (n, broker) in cast.brokers.iter().enumerate() {
        let ask = site.look().ask_spec(broker.organisation, harbour);
        commands.push((broker.by_chief.clone(), Command::Ask(ask.clone())));
        commands.push((broker.by_chief.clone(), Command::Ask(ask.clone()))); // pending already
        commands.push((broker.by_rita.clone(), Command::Ask(ask))); // not for her to do
        commands.push(role(&site, harbour, &format!("role{n}"), "boats:paint"));
    }
    let answers = site.in_one_batch(commands);
    let codes: Vec<&str> = answers.iter().map(code).collect();
    assert_eq!(codes, ["ok", "already_pending", "forbidden", "ok"].repeat(3));
    let seqs: Vec<u64> = answers.iter().flatten().map(|d| d.row.as_ref().unwrap().seq).collect();
    assert_eq!(seqs, (before + 1..=before + 6).collect::<Vec<_>>(), "a refusal takes no position");
    site.check();
}

#[test]
fn t35_a_caller_who_is_sent_away_while_a_command_waits_is_refused() {
    let (w, cast) = cast(2);
    let mut site = Site::of(w);
    let (first, second) = (&cast.brokers[0], &cast.brokers[1]);
    let grant = site.grant(&cast, first);
    let request = site.ask(second, cast.harbour);
    let approval = site.approval(request, cast.keeper);
    let (_, enter) = site.wish(cast.harbour, grant, Mode::Direct);
    let Principal::Key(key) = site.w.provision().principal else { panic!() };
    let answers = site.in_one_batch(vec![
        (cast.by_other.clone(), approval.clone()),
        (first.by_rita.clone(), enter),
        role(&site, cast.harbour, "late", "boats:paint"),
        (
            site.w.provision(),
            Command::RemoveMember { organisation: cast.harbour, external: "other".into() },
        ),
        (
            site.w.provision(),
            Command::RemoveMember { organisation: first.organisation, external: "rita".into() },
        ),
        (site.w.operate(), Command::RetireKey { key }),
    ]);
    let codes: Vec<&str> = answers.iter().map(code).collect();
    assert_eq!(codes, ["caller_revoked", "caller_revoked", "caller_revoked", "ok", "ok", "ok"]);
    // Who signs out everywhere is out at once; who was not, is not.
    let answers = site.in_one_batch(vec![
        (second.by_chief.clone(), Command::CancelRequest { request }),
        (cast.by_boss.clone(), approval),
        (second.by_chief.clone(), Command::SignOutEverywhere),
    ]);
    let codes: Vec<&str> = answers.iter().map(code).collect();
    assert_eq!(codes, ["caller_revoked", "ok", "ok"]);
    site.check();
}

#[test]
fn many_callers_at_once_are_all_answered_in_one_order() {
    let (w, cast) = cast(1);
    let site = Site::of(w);
    let before = site.app.state().seq;
    let mut seqs: Vec<u64> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..16)
            .map(|n| {
                let (site, cast) = (&site, &cast);
                scope.spawn(move || {
                    (0..12)
                        .map(|k| {
                            let (caller, put) =
                                role(site, cast.harbour, &format!("role-{n}-{k}"), "boats:paint");
                            let done = site.must(&caller, put);
                            assert!(
                                done.state
                                    .role_by_code(cast.harbour, &format!("role-{n}-{k}"))
                                    .is_some()
                            );
                            assert!(site.app.state().seq >= done.seq, "read your writes");
                            done.seq
                        })
                        .collect::<Vec<u64>>()
                })
            })
            .collect();
        let each: Vec<Vec<u64>> = callers.into_iter().map(|t| t.join().unwrap()).collect();
        assert!(each.iter().all(|own| own.is_sorted()));
        each.concat()
    });
    seqs.sort_unstable();
    assert_eq!(seqs, (before + 1..=before + 192).collect::<Vec<_>>());
    site.check();
}
