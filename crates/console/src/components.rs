//! Every component on one page, for whoever draws a new one. In the demo only.

use askama::Template;
use axum::extract::State;
use axum::response::Html;

use crate::parts::{
    Badge, Banner, Copy, Empty, Field, Pager, Tab, Tabs, Tone, badge, banner, empty,
};
use crate::routes::Console;
use crate::shell::{Section, Shell};
use crate::visitor::Visitor;
use crate::wrong::Wrong;

#[derive(Template)]
#[template(path = "components.html")]
struct Page {
    shell: Shell,
    badges: Vec<Badge>,
    banners: Vec<Banner>,
    fields: Vec<Field>,
    tabs: Tabs,
    copy: Copy,
    empty: Empty,
    pager: Pager,
}

/// The page.
pub async fn page(State(console): State<Console>, who: Visitor) -> Result<Html<String>, Wrong> {
    if !console.settings.demo {
        return Err(Wrong::not_found());
    }
    let tones = [
        (Tone::Plain, "Referral"),
        (Tone::Primary, "Partner"),
        (Tone::Good, "Active"),
        (Tone::Warn, "Ends in 2 days"),
        (Tone::Bad, "Locked"),
    ];
    let tab = |label: &str, count, here| Tab {
        label: label.into(),
        to: "/console/components".into(),
        here,
        live: None,
        count,
    };
    let missing = ("ticket".to_owned(), "It may have at most 200 characters.".to_owned());
    let page = Page {
        shell: Shell::personal(&console, &who, Section::Elsewhere, "Components"),
        badges: tones.iter().map(|(tone, text)| badge(*tone, *text)).collect(),
        banners: tones
            .iter()
            .map(|(tone, text)| banner(*tone, format!("{text}: a banner of this tone.")))
            .collect(),
        fields: vec![
            Field::new("name", "Name").value("Marina Bay").hint("As your customers know it."),
            Field::new("ticket", "Ticket").optional().wrong(Some(&missing)),
            Field::new("reason", "Reason").kind("textarea"),
        ],
        tabs: Tabs {
            label: "Example",
            tabs: vec![
                tab("Pending Requests", Some(2), true),
                tab("Active Access", Some(14), false),
                tab("Settings", None, false),
            ],
            live: None,
        },
        copy: Copy {
            id: "example-id".into(),
            label: "Customer ID".into(),
            text: "7K2MQ-4VXN0-8R3TD-W5YHC-1B".into(),
        },
        empty: empty(
            "No partner has asked",
            "Give your customer ID to a partner, and its request appears here.",
        ),
        pager: Pager {
            first: Some("/console/components".into()),
            next: Some("/console/components".into()),
        },
    };
    Ok(Html(page.render()?))
}
