//! Who is told outside.

use crate::event::Event;
use crate::ids::OrganisationId;
use crate::state::State;
use crate::stream::{Stream, StreamStanding};
use crate::text::WordId;
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
            drop_words(
                state,
                old.into_iter().flat_map(|(url, text)| std::iter::once(url).chain(text)),
            );
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
            drop_words(state, std::iter::once(gone.url).chain(gone.description));
        }
        _ => {} // a test and a redelivery are told, and change nothing
    }
}

pub(super) fn streams(state: &mut State, c: &Context<'_>, event: &Event) {
    match event {
        Event::StreamMade { stream, application, url, digest, description, kinds } => {
            let made = Stream {
                application: *application,
                url: url.map(|w| c.word(state, w)),
                header: *digest,
                description: description.map(|w| c.word(state, w)),
                kinds: kinds.clone(),
                standing: StreamStanding::Enabled,
                stopped: None,
                made: c.at,
            };
            state.streams.insert(*stream, made);
        }
        Event::StreamChanged { stream, url, digest, description, kinds } => {
            let url = url.map(|w| c.word(state, w));
            let description = description.map(|w| c.word(state, w));
            let old = state.streams.get(*stream).map(|s| [s.url, s.description]);
            state.streams.change(*stream, |s| {
                (s.url, s.header, s.description) = (url, *digest, description);
                s.kinds.clone_from(kinds);
            });
            drop_words(state, old.into_iter().flatten().flatten());
        }
        Event::StreamStanding { stream, standing, .. } => {
            state.streams.change(*stream, |s| (s.standing, s.stopped) = (*standing, None));
        }
        Event::StreamStopped { stream, why } => {
            state.streams.change(*stream, |s| {
                (s.standing, s.stopped) = (StreamStanding::Disabled, Some(*why));
            });
        }
        Event::StreamRemoved { stream } => {
            let words = state.streams.get(*stream).map(|s| [s.url, s.description]);
            state.streams.remove(*stream);
            drop_words(state, words.into_iter().flatten().flatten());
        }
        _ => {} // a verification is told, and changes nothing
    }
}

fn drop_words(state: &mut State, words: impl Iterator<Item = WordId>) {
    words.for_each(|word| state.words.drop(word));
}
