use axum::{Extension, Router, routing::get};
use comity_client::{Comity, Guard, Question, Settings, Yes};

pub fn app(url: &str, decide_key: &str) -> Result<Router, comity_client::WrongSetting> {
    let comity = Comity::new(&Settings::new(url, decide_key))?;
    let guard = Guard::new(comity, |request| {
        let account = request.uri.path().strip_prefix("/accounts/")?;
        Some(Question::account("bookings:read", account))
    });
    let handler = |Extension(partner): Extension<Yes>| async move { partner.actor.id };
    Ok(Router::new().route("/accounts/{account}", get(handler)).layer(guard))
}
