//! Event streams: who keeps one, and what it is told.

use comity_domain::application::KeyUse;
use comity_domain::command::{Caller, Command, FreshSecret, Sealed};
use comity_domain::draft::SideWrite;
use comity_domain::event::Event;
use comity_domain::ids::{ApplicationId, CommandId, Digest32, Ids, StreamId};
use comity_domain::kernel;
use comity_domain::outbox::pushes;
use comity_domain::refusal::Refusal;
use comity_domain::role::Mode;
use comity_domain::stream::{
    StreamDelivery, StreamHeader, StreamKind, StreamSpec, StreamStanding, StreamStop,
};
use comity_domain::text::Subject;

use crate::world::{World, by_key, perms};

fn all() -> StreamSpec {
    StreamSpec { kinds: Some(vec![StreamKind::SessionRevoked]), ..StreamSpec::default() }
}

fn to(url: &str, header: StreamHeader) -> StreamSpec {
    let delivery = Some(StreamDelivery::Push { url: url.into(), header });
    StreamSpec { delivery, ..StreamSpec::default() }
}

fn secret(n: u8) -> StreamHeader {
    StreamHeader::Fresh(FreshSecret { digest: Digest32([n; 32]), sealed: Sealed(vec![n]) })
}

fn make(w: &mut World, by: &Caller) -> StreamId {
    let row = w.must(by, Command::MakeStream { spec: all() }).unwrap();
    let made = row.events.iter().find_map(|e| match e.event {
        Event::StreamMade { stream, .. } => Some(stream),
        _ => None,
    });
    made.unwrap()
}

/// Another application, with its key for decide.
fn tours(w: &mut World) -> (ApplicationId, Caller) {
    let (code, audience) = ("tours".to_owned(), "https://tours.example".to_owned());
    let permissions = perms(&["boats:*"]);
    w.must(&w.operate(), Command::PutApplication { code, audience, permissions });
    let tours = w.state.application_by_audience("https://tours.example").unwrap();
    let key = w.key(&w.operate(), KeyUse::Decide, Some(tours));
    (tours, by_key(key))
}

#[test]
fn t16_an_application_keeps_its_own_stream_and_no_other_is_there_for_it() {
    let mut w = World::new();
    let (decide, (_, other)) = (w.decide(), tours(&mut w));
    let stream = make(&mut w, &decide);
    let wrong = |r: &Refusal| matches!(r, Refusal::WrongState(_));
    assert!(wrong(&w.run(&decide, Command::MakeStream { spec: all() }).unwrap_err()));
    let standing = StreamStanding::Paused;
    let commands = || {
        [
            Command::ChangeStream { stream, spec: all() },
            Command::SetStreamStanding { stream, standing, reason: None },
            Command::VerifyStream { stream, state: None },
            Command::RemoveStream { stream },
        ]
    };
    for command in commands() {
        assert_eq!(w.run(&other, command).unwrap_err(), Refusal::NotFound);
    }
    for command in commands() {
        let told = w.run(&w.operate(), command).unwrap_err();
        assert!(matches!(told, Refusal::Forbidden(_)), "{told:?}");
    }
    let why = StreamStop::NotTaken;
    let stop = || Command::StopStream { stream, why };
    assert_eq!(w.run(&decide, stop()).unwrap_err(), Refusal::NotFound, "Comity's own");
    w.must(&Caller::system(), stop());
    let stopped = w.state.streams.get(stream).unwrap();
    assert_eq!((stopped.standing, stopped.stopped), (StreamStanding::Disabled, Some(why)));
    assert!(w.run(&Caller::system(), stop()).unwrap().is_none(), "nothing happens twice");
    let verify = Command::VerifyStream { stream, state: None };
    assert!(wrong(&w.run(&decide, verify).unwrap_err()));
    let standing = StreamStanding::Enabled;
    w.must(&decide, Command::SetStreamStanding { stream, standing, reason: None });
    assert_eq!(w.state.streams.get(stream).unwrap().stopped, None);
    w.must(&decide, Command::RemoveStream { stream });
    assert!(w.state.streams.is_empty());
    let again = make(&mut w, &decide);
    assert_ne!(again, stream);
}

#[test]
fn t43_a_secret_stays_with_its_address_and_is_dropped_with_it() {
    let mut w = World::new();
    let decide = w.decide();
    let stream = make(&mut w, &decide);
    let (a, b) = ("https://a.example/in", "https://b.example/in");
    let held = |w: &World| w.state.streams.get(stream).unwrap().header;
    let drops = |w: &World, spec: StreamSpec| {
        let command = Command::ChangeStream { stream, spec };
        let (id, now, mut ids) = (CommandId(7), w.now, Ids::new([7; 32]));
        let side = kernel::decide(&w.state, &decide, id, command, now, &mut ids).unwrap().side;
        side.contains(&SideWrite::DropSecrets { recipient: stream.0 })
    };
    let change = |w: &mut World, spec| {
        let _ = w.must(&decide, Command::ChangeStream { stream, spec });
    };
    change(&mut w, to(a, secret(1)));
    assert_eq!(held(&w), Some(Digest32([1; 32])));
    let named = StreamSpec { description: Some(Some("At the gateway".into())), ..all() };
    assert!(!drops(&w, named.clone()));
    change(&mut w, named);
    assert_eq!(held(&w), Some(Digest32([1; 32])), "another change leaves it");
    let same = Command::ChangeStream { stream, spec: to(a, StreamHeader::Kept) };
    assert!(w.run(&decide, same).unwrap().is_none());
    assert!(drops(&w, to(b, StreamHeader::Kept)));
    change(&mut w, to(b, StreamHeader::Kept));
    assert_eq!(held(&w), None, "it goes nowhere that it was not named with");
    change(&mut w, to(b, secret(2)));
    let poll = StreamSpec { delivery: Some(StreamDelivery::Poll), ..StreamSpec::default() };
    assert!(drops(&w, poll.clone()));
    change(&mut w, poll);
    assert_eq!((held(&w), w.state.streams.get(stream).unwrap().url), (None, None));
    // What was typed is words, and goes once the stream is gone.
    let subject = Subject::Stream(stream);
    let erase = || Command::EraseWords { subject };
    let told = w.run(&w.provision(), erase()).unwrap_err();
    assert!(matches!(told, Refusal::InUse(_)), "{told:?}");
    w.must(&decide, Command::RemoveStream { stream });
    w.must(&w.provision(), erase());
}

#[test]
fn inv12_a_stream_counts_among_the_endings_of_its_own_sessions() {
    let mut w = World::new();
    let (harbour, brokers) =
        (w.organisation("harbour", "Harbour"), w.organisation("brokers", "Brokers"));
    let (boss, chief) = (w.admin(harbour, "boss"), w.admin(brokers, "chief"));
    let (by_boss, by_chief) = (w.sign_in(boss), w.sign_in(chief));
    let keeper = w.role(harbour, "keeper", &["boats:*"]);
    let rita = w.member(brokers, "rita", None);
    let spec = w.ask_spec(brokers, harbour);
    let request = w.ask(&by_chief, spec);
    let terms = w.terms(&[keeper]);
    let grant = w.approve(&by_boss, request, terms);
    w.assign(&by_chief, grant, rita, &[keeper]);
    let by_rita = w.sign_in(rita);
    let (decide, (_, by_tours)) = (w.decide(), tours(&mut w));
    let boats = make(&mut w, &decide);
    let tours = make(&mut w, &by_tours);
    for audience in [None, Some("https://tours.example"), None] {
        let mut enter = w.enter_spec(harbour, Mode::Direct);
        enter.audience = audience.map_or(enter.audience, str::to_owned);
        w.must(&by_rita, Command::Enter(enter));
    }
    let told = |w: &World, command: Command| {
        let mut after = w.clone();
        let row = after.must(&by_boss, command).unwrap();
        let told = pushes(&w.state, &row, &after.state);
        let of = |stream: StreamId| -> Vec<(u32, &str)> {
            told.iter().filter(|p| p.recipient == stream.0).map(|p| (p.index, p.kind)).collect()
        };
        (of(boats), of(tours))
    };
    let revoke = || Command::Revoke { grant };
    let ended = "session_ended";
    assert_eq!(told(&w, revoke()), (vec![(0, ended), (1, ended)], vec![(0, ended)]));
    for (standing, kept) in [(StreamStanding::Paused, 2), (StreamStanding::Disabled, 0)] {
        w.must(&decide, Command::SetStreamStanding { stream: boats, standing, reason: None });
        assert_eq!(told(&w, revoke()).0.len(), kept, "{standing:?}");
    }
    let spec = StreamSpec { kinds: Some(Vec::new()), ..StreamSpec::default() };
    w.must(&by_tours, Command::ChangeStream { stream: tours, spec });
    assert_eq!(told(&w, revoke()).1, [], "it did not ask for any");
}
