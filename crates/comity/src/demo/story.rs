//! Sixty days of partner access on Tideline.

use comity_domain::command::Command;
use comity_domain::role::Mode;
use comity_domain::time::{HOUR, Instant, MINUTE};

use super::actor::Wish;
use super::cast::Seed;

/// Days 1 to 30: a grant that ran out, a denial, a request that nobody answered.
pub async fn first_month(seed: &Seed<'_>) -> anyhow::Result<()> {
    let stage = &seed.stage;
    let (marina, harbor) = (seed.org("marina-bay")?, seed.org("harbor-help")?);
    stage.at(seed.day(2, 9));
    let pia = seed.as_("pia").await?;
    let wish = Wish {
        level: "partner",
        modes: &[Mode::Direct, Mode::View, Mode::ActAs],
        days: 21,
        roles: &[],
        accounts: &[],
        reason: "Spring check of the booking calendar, as agreed by phone",
        ticket: Some("HH-1042"),
    };
    let request = stage.ask(&pia, harbor, &seed.code("marina-bay")?, wish).await?;
    stage.at(seed.day(2, 11));
    let ana = seed.as_("ana").await?;
    let grant = stage
        .approve(
            &ana,
            request,
            &["bookings", "fleet"],
            &[],
            &[Mode::Direct, Mode::View, Mode::ActAs],
        )
        .await?;
    stage.assign(&pia, grant, &[seed.person("quentin")?, seed.person("ruth")?]).await?;
    stage.at(seed.day(3, 9));
    let quentin = seed.as_("quentin").await?;
    let (session, token) = stage.enter(&quentin, marina, Mode::Direct, None).await?;
    stage.call_over(&token, ("bookings:read", "pier-1"), 31, (seed.day(3, 9), 33));
    stage.call(&token, "billing:read", "pier-1", 2);
    stage.at(seed.day(3, 9).plus(34 * MINUTE));
    stage.run(&quentin, Command::CloseSession { session }).await?;
    stage.at(seed.day(5, 14));
    let ruth = seed.as_("ruth").await?;
    let (_, token) = stage
        .enter(&ruth, marina, Mode::ActAs, Some("Double booking of the Aurora, HH-1050"))
        .await?;
    stage.call(&token, "bookings:write", "pier-2", 12); // left open: expires after an hour
    stage.at(seed.day(8, 10));
    let wanda = seed.as_("wanda").await?;
    let wish = Wish {
        level: "referral",
        modes: &[Mode::View],
        days: 90,
        roles: &["reports"],
        accounts: &[],
        reason: "Benchmark of utilisation across marinas",
        ticket: None,
    };
    let request =
        stage.ask(&wanda, seed.org("wake-analytics")?, &seed.code("marina-bay")?, wish).await?;
    stage.at(seed.day(9, 10));
    let ana = seed.as_("ana").await?;
    let (reason, message) = (
        Some("We do not share numbers with competitors' tools".into()),
        Some("Not this season, thank you.".into()),
    );
    stage.run(&ana, Command::Deny { request, reason, message }).await?;
    stage.at(seed.day(12, 10));
    let nils = seed.as_("nils").await?;
    let wish = Wish {
        level: "referral",
        modes: &[Mode::View],
        days: 30,
        roles: &[],
        accounts: &["como"],
        reason: "Claim 77-B: photographs of the hull",
        ticket: Some("77-B"),
    };
    stage.ask(&nils, seed.org("north-insure")?, &seed.code("lago")?, wish).await?; // nobody answers
    Ok(())
}

/// Days 31 to 59: a grant that was revoked while somebody was inside, one that runs on.
pub async fn second_month(seed: &Seed<'_>) -> anyhow::Result<()> {
    let stage = &seed.stage;
    let (fjord, sail) = (seed.org("fjord-charter")?, seed.org("sailsupport")?);
    stage.at(seed.day(33, 8));
    let sam = seed.as_("sam").await?;
    let wish = Wish {
        level: "partner",
        modes: &[Mode::Direct, Mode::View],
        days: 90,
        roles: &["fleet"],
        accounts: &["bergen"],
        reason: "Winter maintenance planning",
        ticket: None,
    };
    let request = stage.ask(&sam, sail, &seed.code("fjord-charter")?, wish).await?;
    let frida = seed.as_("frida").await?;
    let grant = stage
        .approve(&frida, request, &["fleet"], &["bergen"], &[Mode::Direct, Mode::View])
        .await?;
    stage.assign(&sam, grant, &[seed.person("tess")?]).await?;
    stage.at(seed.day(40, 13));
    let tess = seed.as_("tess").await?;
    let (_, token) = stage.enter(&tess, fjord, Mode::Direct, None).await?;
    stage.call(&token, "maintenance:write", "bergen", 18);
    stage.call(&token, "boats:read", "alesund", 4);
    stage.at(seed.day(40, 13).plus(22 * MINUTE));
    let frida = seed.as_("frida").await?;
    stage.run(&frida, Command::Revoke { grant }).await?;
    stage.at(seed.day(45, 9));
    let pia = seed.as_("pia").await?;
    let wish = Wish {
        level: "partner",
        modes: &[Mode::Direct, Mode::View, Mode::ActAs],
        days: 60,
        roles: &[],
        accounts: &[],
        reason: "Support for the summer season",
        ticket: Some("HH-1101"),
    };
    let request =
        stage.ask(&pia, seed.org("harbor-help")?, &seed.code("marina-bay")?, wish).await?;
    let ana = seed.as_("ana").await?;
    let grant = stage
        .approve(
            &ana,
            request,
            &["bookings", "reports"],
            &["pier-1", "pier-2"],
            &[Mode::Direct, Mode::ActAs],
        )
        .await?;
    stage
        .assign(&pia, grant, &[seed.person("quentin")?, seed.person("ruth")?, seed.person("pia")?])
        .await?;
    for day in [47, 50, 52, 55] {
        stage.at(seed.day(day, 10));
        let quentin = seed.as_("quentin").await?;
        let (session, token) =
            stage.enter(&quentin, seed.org("marina-bay")?, Mode::Direct, None).await?;
        let times = 20 + u32::try_from(day).unwrap_or(0) % 7;
        stage.call_over(&token, ("bookings:read", "pier-1"), times, (seed.day(day, 10), 16));
        stage.at(seed.day(day, 10).plus(17 * MINUTE));
        stage.run(&quentin, Command::CloseSession { session }).await?;
    }
    Ok(())
}

/// The last hours: requests to decide, somebody inside, a request taken back.
pub async fn today(seed: &Seed<'_>, now: Instant) -> anyhow::Result<()> {
    let stage = &seed.stage;
    stage.at(now.plus(-5 * HOUR));
    let nils = seed.as_("nils").await?;
    let wish = Wish {
        level: "referral",
        modes: &[Mode::View],
        days: 14,
        roles: &["reports"],
        accounts: &["workshop"],
        reason: "Claim 81-A: storm damage at the workshop",
        ticket: Some("81-A"),
    };
    stage.ask(&nils, seed.org("north-insure")?, &seed.code("marina-bay")?, wish).await?;
    stage.at(now.plus(-3 * HOUR));
    let wanda = seed.as_("wanda").await?;
    let again = || Wish {
        level: "referral",
        modes: &[Mode::View],
        days: 30,
        roles: &["reports"],
        accounts: &[],
        reason: "Benchmark of utilisation, without names",
        ticket: None,
    };
    let request = stage
        .ask(&wanda, seed.org("wake-analytics")?, &seed.code("fjord-charter")?, again())
        .await?;
    stage.run(&wanda, Command::CancelRequest { request }).await?;
    stage.ask(&wanda, seed.org("wake-analytics")?, &seed.code("marina-bay")?, again()).await?;
    stage.at(now.plus(-11 * MINUTE));
    let ruth = seed.as_("ruth").await?;
    let reason = Some("Guest cannot change the pick-up time, HH-1177");
    let (_, token) = stage.enter(&ruth, seed.org("marina-bay")?, Mode::ActAs, reason).await?;
    stage.call_over(&token, ("bookings:read", "pier-2"), 9, (now.plus(-11 * MINUTE), 10));
    stage.call(&token, "bookings:write", "pier-2", 2);
    stage.call(&token, "bookings:read", "workshop", 1);
    Ok(())
}
