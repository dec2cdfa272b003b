//! The demo's links: who one would be, by one click, and nothing of it outside the demo.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, header};
use comity_app::tokens::{Kind, Secret};
use comity_domain::command::{Command, PutMember};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::house::{Browser, House};

/// Dana of Marina Bay has the demo's password; the others of the house have another.
fn house() -> House {
    let house = House::new();
    let organisation = house.org("marina");
    let command = Command::PutMember(PutMember {
        organisation,
        external: "dana".into(),
        name: "Dana <b>Demo</b>".into(),
        email: "dana@marina.example".into(),
        email_verified: true,
        unit: None,
        portal: Some(comity_domain::person::PortalRole::Admin),
        active: true,
        roles: None,
    });
    house.run(&house.provisioner, command);
    let secret = Secret::new(Kind::Enrolment);
    let (external, digest) = ("dana".to_owned(), secret.digest());
    house.run(&house.provisioner, Command::MakeEnrolment { organisation, external, digest });
    let enrolled = house.app.enrol(secret.reveal(), comity_console::DEMO_PASSWORD.into());
    house.runtime.block_on(enrolled).unwrap();
    house
}

fn asked(house: &House, router: &Router, request: Request<Body>) -> (Response<()>, String) {
    house.runtime.block_on(async {
        let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes().to_vec();
        (Response::from_parts(parts, ()), String::from_utf8(bytes).unwrap())
    })
}

fn look(house: &House, router: &Router, host: &str, who: &str) -> (Response<()>, String) {
    let path = format!("/console/demo/{who}");
    asked(house, router, Request::get(path).header(header::HOST, host).body(Body::empty()).unwrap())
}

fn click(house: &House, router: &Router, host: &str, origin: &str, who: &str) -> Response<()> {
    let request = Request::post(format!("/console/demo/{who}"))
        .header(header::HOST, host)
        .header(header::ORIGIN, format!("http://{origin}"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    asked(house, router, request.body(Body::empty()).unwrap()).0
}

const HERE: &str = "127.0.0.1:8420";
const DANA: &str = "dana@marina.example";

#[test]
fn a_link_of_the_demo_signs_in_by_a_click_as_often_as_it_is_opened() {
    let house = house();
    let before = house.app.state().seq;
    let (answer, page) = look(&house, &house.router, HERE, DANA);
    assert_eq!(answer.status(), 200);
    assert!(page.contains("Marina Bay, Admin"), "{page}");
    assert!(page.contains("Dana &#60;b&#62;Demo&#60;/b&#62;") && !page.contains("<b>"), "{page}");
    assert!(answer.headers().get(header::SET_COOKIE).is_none());
    assert_eq!(house.app.state().seq, before, "looking changes nothing");
    for _ in 0..2 {
        let answer = click(&house, &house.router, HERE, HERE, DANA);
        assert_eq!(answer.status(), 303);
        let set = answer.headers()[header::SET_COOKIE].to_str().unwrap();
        let browser = Browser { cookie: set.split(';').next().unwrap().to_owned() };
        house.get(&browser, "/console").is(303);
        let marina = house.org("marina");
        house.get(&browser, &format!("/console/o/{marina}/roles")).is(200).says("dana@marina");
    }
}

#[test]
fn t9_the_demos_links_are_not_there_for_others() {
    let house = house();
    let real = comity_console::router(house.app.clone(), comity_console::Settings::default());
    let (missing, page) = look(&house, &house.router, HERE, "nobody@marina.example");
    assert_eq!(missing.status(), 404);
    // No demo, or under a name that somebody pointed here.
    for (router, host) in
        [(&real, HERE), (&house.router, "evil.example"), (&house.router, "10.0.0.7")]
    {
        let (answer, same) = look(&house, router, host, DANA);
        assert_eq!((answer.status().as_u16(), &same), (404, &page), "{host}");
        assert_eq!(click(&house, router, host, host, DANA).status(), 404, "{host}");
    }
    // A form of another page, and somebody whose password is not the demo's.
    assert_eq!(click(&house, &house.router, HERE, "evil.example", DANA).status(), 403);
    let changed = click(&house, &house.router, HERE, HERE, "ana@marina.example");
    assert_eq!(changed.status(), 401);
    assert!(changed.headers().get(header::SET_COOKIE).is_none());
}
