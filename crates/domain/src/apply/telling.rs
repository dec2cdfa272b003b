//! Who is told outside.

use crate::event::Event;
use crate::ids::OrganisationId;
use crate::state::State;
use crate::webhook::Webhook;

use super::Context;

pub(super) fn webhooks(state: &mut State, c: &Context<'_>, event: &Event) {
    match event {
        Event::WebhookMade { webhook, owner, url, description, kinds, digest } => {
            let made = Webhook {
                owner: *owner,
                url: c.word(state, *url),
                description: description.map(|w| c.word(state, w)),
                kinds: kinds.clone(),
                standing: crate::webhook::Telling::Active,
                secret: *digest,
                old_secret: None,
                made: c.at,
            };
            state.webhooks.insert(*webhook, made);
            state.webhooks_of.insert((owner.unwrap_or(OrganisationId::MIN), *webhook));
        }
        Event::WebhookChanged { webhook, url, description, kinds } => {
            let url = c.word(state, *url);
            let description = description.map(|w| c.word(state, w));
            let old = state.webhooks.get(*webhook).map(|w| (w.url, w.description));
            state.webhooks.change(*webhook, |w| {
                (w.url, w.description, w.kinds) = (url, description, kinds.clone());
            });
            drop_words(state, old);
        }
        Event::WebhookStanding { webhook, standing } => {
            state.webhooks.change(*webhook, |w| w.standing = *standing);
        }
        Event::WebhookSecretRotated { webhook, digest, old_until } => {
            state.webhooks.change(*webhook, |w| {
                w.old_secret = Some((w.secret, *old_until));
                w.secret = *digest;
            });
        }
        Event::WebhookRemoved { webhook } => {
            let Some(gone) = state.webhooks.get(*webhook).cloned() else {
                return;
            };
            state.webhooks_of.remove(&(gone.owner.unwrap_or(OrganisationId::MIN), *webhook));
            state.webhooks.remove(*webhook);
            drop_words(state, Some((gone.url, gone.description)));
        }
        _ => {} // a test and a redelivery are told, and change nothing
    }
}

fn drop_words(
    state: &mut State,
    words: Option<(crate::text::WordId, Option<crate::text::WordId>)>,
) {
    for word in words.into_iter().flat_map(|(url, text)| std::iter::once(url).chain(text)) {
        state.words.drop(word);
    }
}
