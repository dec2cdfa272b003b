//! An export proves itself, and whatever is changed in it is found (T40, inv26).

use std::collections::{BTreeMap, BTreeSet};

use comity_domain::event::Row;
use comity_domain::ids::{Digest32, OrganisationId};
use comity_domain::time::Instant;
use comity_store::merkle::Hash;
use comity_store::note::{Signer, origin};
use comity_store::{
    Checkpoints, ExportError, ExportVerdict, Kept, Pinned, Place, Reader, Tree, export, verify,
    verify_export,
};
use serde_json::{Value, json};

use crate::chance::Chance;
use crate::story::{Shelf, long_story};

/// A log with checkpoints over some of its sizes, and who signs them.
struct Signed {
    shelf: Shelf,
    signer: Signer,
    tree: Tree,
}

impl Signed {
    fn new(rows: &[Row], secret: u8) -> Self {
        let shelf = Shelf::with(rows);
        let mut tree = Tree::default();
        let size = rows.len() as u64;
        Reader::new(&shelf.path).leaves(0, size, |leaf| tree.push(leaf)).unwrap();
        let signer = Signer::new(&origin(tree.leaf(0).unwrap()), &[secret; 32]).unwrap();
        let signed = Self { shelf, signer, tree };
        [1, 10, size / 2, size / 2 + 1, size].into_iter().for_each(|size| signed.sign(size));
        signed
    }

    fn note(&self, size: u64) -> String {
        self.signer.sign(size, self.tree.root(size).unwrap())
    }

    fn sign(&self, size: u64) {
        let (edge, note) = (self.tree.edge(size).unwrap(), self.note(size));
        let kept = Kept { size, at: Instant(1), edge, note };
        Checkpoints::at(&Place::Folder(self.shelf.path.parent().unwrap().into()))
            .unwrap()
            .keep(&kept)
            .unwrap();
    }

    fn export(&self, who: OrganisationId, since: u64) -> String {
        let mut out = Vec::new();
        let reader = Reader::new(&self.shelf.path);
        export(&reader, who, since, self.signer.verifier(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }
}

fn check(text: &str, pinned: &Pinned) -> Result<ExportVerdict, (u64, String)> {
    verify_export(text.as_bytes(), pinned).unwrap().map_err(|bad| (bad.line, bad.what))
}

fn alone(text: &str) -> Result<ExportVerdict, (u64, String)> {
    check(text, &Pinned::default())
}

/// The two organisations of the story.
fn both(rows: &[Row]) -> [OrganisationId; 2] {
    let shared = rows.iter().flat_map(|r| &r.events).find(|e| e.readers.len() == 2).unwrap();
    [shared.readers[0], shared.readers[1]]
}

/// The last line made anew, as somebody would who changes an export with understanding.
fn resealed(lines: &[String]) -> String {
    let above: String = lines[..lines.len() - 1].concat();
    let end = json!({"end": {"lines": lines.len() - 1, "digest": Digest32::of(above.as_bytes())}});
    format!("{above}{end}\n")
}

fn lines(text: &str) -> Vec<String> {
    text.split_inclusive('\n').map(Into::into).collect()
}

fn parsed(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const SAMPLE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/sample-export.jsonl");

/// What `docs/reference/verify_export.py` is run on. Seeded, so it only changes with the format.
fn sample() -> String {
    let rows = long_story().rows;
    let signed = Signed::new(&rows[..41], 7);
    signed.export(both(&rows)[0], 0)
}

/// Writes it: `cargo test -p comity-store write_sample -- --ignored`.
#[test]
#[ignore = "writes the published sample; only for a new version of the format"]
fn write_sample() {
    std::fs::write(SAMPLE, sample()).unwrap();
}

#[test]
fn the_published_sample_is_what_this_release_writes() {
    let published = std::fs::read_to_string(SAMPLE).unwrap();
    assert!(published == sample(), "see `write_sample`");
    let said = alone(&published).unwrap();
    assert!(said.rows >= 8 && said.words >= 8 && said.checkpoints == 5, "{said:?}");
}

#[test]
fn inv26_both_sides_export_equal_roots_and_equal_bytes_of_what_they_share() {
    let rows = long_story().rows;
    let signed = Signed::new(&rows, 7);
    let texts = both(&rows).map(|who| signed.export(who, 0));
    let [a, b] = texts.each_ref().map(|text| alone(text).unwrap());
    assert_eq!((a.root, a.size, &a.key), (b.root, rows.len() as u64, &b.key));
    assert_eq!(a.root.0, signed.tree.root(a.size).unwrap());
    assert_eq!((a.checkpoints, b.checkpoints), (5, 5));
    let parts = texts.each_ref().map(|text| {
        let mut parts = BTreeMap::new();
        for line in parsed(text).iter().filter(|line| line.get("row").is_some()) {
            for part in line["row"]["parts"].as_array().unwrap() {
                let place = (line["row"]["seq"].as_u64().unwrap(), part["readers"].to_string());
                assert!(parts.insert(place, part.to_string()).is_none());
            }
        }
        parts
    });
    let names = |readers: &str, who: OrganisationId| readers.contains(&who.to_string());
    let (mut shared, mut own) = (0, 0);
    for (mine, theirs, who) in
        [(&parts[0], &parts[1], b.organisation), (&parts[1], &parts[0], a.organisation)]
    {
        for ((seq, readers), part) in mine {
            let there = theirs.get(&(*seq, readers.clone()));
            assert_eq!(there, names(readers, who).then_some(part), "row {seq} for {readers}");
            shared += u32::from(there.is_some());
            own += u32::from(there.is_none());
        }
    }
    assert!(shared >= 20 && own >= 20, "{shared} {own}");
    for (text, row) in texts.iter().zip([&a, &b]) {
        let with_parts = rows.iter().filter(|r| {
            r.acting.contains(&row.organisation)
                || r.events.iter().any(|e| e.readers.contains(&row.organisation))
        });
        assert_eq!(row.rows, with_parts.count() as u64);
        let other = if row.organisation == a.organisation { &b } else { &a };
        for part in rows.iter().flat_map(|r| &r.words) {
            // A word of the other side alone is not shown. Many are spelt alike: by its salt.
            let salt = format!("{:032x}", u128::from_be_bytes(part.salt));
            let readers = |r: &Row| r.words.iter().any(|w| w.salt == part.salt);
            let row_of = rows.iter().find(|r| readers(r)).unwrap();
            let may = row_of.events[part.event as usize].readers.contains(&row.organisation);
            assert_eq!(text.contains(&salt), may, "{:?} beside {:?}", part.text, other.key);
        }
    }
}

#[test]
fn an_export_since_a_row_shows_the_rest_as_leaves_and_ends_in_the_same_root() {
    let rows = long_story().rows;
    let signed = Signed::new(&rows, 7);
    let who = both(&rows)[0];
    let whole = alone(&signed.export(who, 0)).unwrap();
    for since in [1, 9, 10, 11, whole.size - 1, whole.size] {
        let text = signed.export(who, since);
        let said = alone(&text).unwrap();
        assert_eq!((said.root, said.since), (whole.root, since));
        let first = parsed(&text).iter().filter_map(|l| l["row"]["seq"].as_u64()).min();
        assert!(first.is_none_or(|seq| seq > since) && said.rows <= whole.rows);
        assert!(said.checkpoints >= 1);
    }
    let reader = Reader::new(&signed.shelf.path);
    let beyond = export(&reader, who, whole.size + 1, signed.signer.verifier(), Vec::new());
    assert!(matches!(beyond, Err(ExportError::Since { .. })));
    let nobody = alone(&signed.export(OrganisationId(1), 0)).unwrap();
    assert_eq!((nobody.rows, nobody.words, nobody.root), (0, 0, whole.root));
    let bare = Shelf::with(&rows);
    let none = export(&Reader::new(&bare.path), who, 0, signed.signer.verifier(), Vec::new());
    assert!(matches!(none, Err(ExportError::NoCheckpoint)));
}

#[test]
fn an_erased_word_is_left_out_and_the_export_still_proves_itself() {
    let rows = long_story().rows;
    let signed = Signed::new(&rows, 7);
    let who = both(&rows)[0];
    let before = alone(&signed.export(who, 0)).unwrap();
    signed.shelf.raw().execute("DELETE FROM word WHERE about LIKE '%per_%'", []).unwrap();
    let after = alone(&signed.export(who, 0)).unwrap();
    assert!(after.words < before.words && after.words > 0);
    assert_eq!((after.root, after.rows), (before.root, before.rows));
}

#[test]
fn t40_each_named_attack_on_an_export_is_found_at_its_line() {
    let rows = long_story().rows;
    let signed = Signed::new(&rows, 7);
    let text = signed.export(both(&rows)[0], 0);
    let all = lines(&text);
    let own: Vec<usize> = (0..all.len()).filter(|n| all[*n].starts_with("{\"row\"")).collect();
    let found = |text: &str| alone(text).unwrap_err();
    let spoil = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = all.clone();
        change(&mut lines);
        found(&resealed(&lines))
    };
    // A flipped byte: of a header, a body, a salt, a word, another's hash, a proof.
    for (from, to) in [
        ("\\\"at\\\":", "\\\"at\\\":1"),
        ("\\\"events\\\"", "\\\"eventS\\\""),
        ("\"salt\":\"", "\"salt\":\"0"),
        ("\"text\":\"", "\"text\":\"x"),
        ("\"others\":[[\"", "\"others\":[[\"0"),
        ("\"inclusion\":[\"", "\"inclusion\":[\"0"),
    ] {
        let at = *own.iter().find(|n| all[**n].contains(from)).unwrap();
        let pair = |line: &str| line.replacen(from, to, 1);
        let (line, what) = spoil(&|lines| lines[at] = pair(&lines[at]));
        assert_eq!(line, at as u64 + 1, "{to}: {what}");
    }
    // The tail is cut: between lines, within one, and with a new last line.
    let cut = |n: usize| all[..n].concat();
    assert_eq!(found(&cut(all.len() - 1)).0, all.len() as u64);
    assert_eq!(found(&cut(own[3])).0, own[3] as u64 + 1);
    assert!(found(text.trim_end()).1.contains("cut off"));
    assert_eq!(spoil(&|lines| drop(lines.drain(own[5]..lines.len() - 1))).0, own[5] as u64 + 1);
    assert_eq!(found("").0, 1);
    // Rows in another order, one left out, one twice.
    let moved = own.iter().copied().find(|n| own.contains(&(n + 1))).unwrap();
    let (line, what) = spoil(&|lines| lines.swap(moved, moved + 1));
    assert!(line == moved as u64 + 1 && what.contains("moved"), "{what}");
    let (line, what) = spoil(&|lines| drop(lines.remove(moved)));
    assert!(line == moved as u64 + 1 && what.contains("missing"), "{what}");
    let twice = spoil(&|lines| lines.insert(moved, lines[moved].clone()));
    assert_eq!(twice.0, moved as u64 + 2);
    // A checkpoint left out leaves the next one without its proof; the newest cannot be.
    let signatures: Vec<usize> =
        (0..all.len()).filter(|n| all[*n].starts_with("{\"checkpoint\"")).collect();
    let (line, what) = spoil(&|lines| drop(lines.remove(signatures[1])));
    assert!(line == signatures[2] as u64 && what.contains("consistency"), "{what}");
    assert!(spoil(&|lines| drop(lines.remove(signatures[4]))).1.contains("before the checkpoint"));
    // Somebody else's rows as one's own.
    let theirs = both(&rows)[1].to_string();
    let own_id = both(&rows)[0].to_string();
    assert!(
        spoil(&|lines| lines[0] = lines[0].replace(&own_id, &theirs))
            .1
            .contains("not the organisation's")
    );
    // A line that says the same in another spelling.
    let blank = spoil(&|lines| lines[moved] = lines[moved].replacen(':', ": ", 1));
    assert!(blank.1.contains("spelt"), "{}", blank.1);
}

/// The story told otherwise from row 30 on: the same log until then.
fn forked(rows: &[Row]) -> Vec<Row> {
    let mut other = rows.to_vec();
    other[30..].iter_mut().for_each(|row| row.at = row.at.plus(1));
    other
}

#[test]
fn t40_another_key_and_another_history_are_found_by_what_is_held() {
    let rows = long_story().rows;
    let who = both(&rows)[0];
    let (signed, resigned) = (Signed::new(&rows, 7), Signed::new(&rows, 8));
    let held = |notes: &[String]| Pinned {
        key: None,
        checkpoints: notes.iter().map(|n| ("held.txt".to_owned(), n.clone())).collect(),
    };
    let key = Pinned { key: Some(signed.signer.verifier().clone()), checkpoints: Vec::new() };
    let (text, other) = (signed.export(who, 0), resigned.export(who, 0));
    let size = rows.len() as u64;
    let every: Vec<String> = (1..=size).map(|n| signed.note(n)).collect();
    assert!(check(&text, &key).is_ok() && check(&text, &held(&every)).is_ok());
    // Whole and proven, and by another key.
    assert!(alone(&other).is_ok());
    assert!(check(&other, &key).unwrap_err().1.contains("another key"));
    assert!(check(&other, &held(&every[2..3])).unwrap_err().1.contains("another key"));
    // The same key over another history: shown by any checkpoint held from after the fork.
    let fork = Signed::new(&forked(&rows), 7);
    assert_eq!(fork.tree.leaf(29), signed.tree.leaf(29));
    let second = fork.export(who, 0);
    assert!(check(&second, &key).is_ok() && check(&second, &held(&every[..30])).is_ok());
    for note in &every[30..] {
        let (_, what) = check(&second, &held(std::slice::from_ref(note))).unwrap_err();
        assert!(what.contains("two different histories"), "{what}");
    }
    // A log that was cut below what somebody holds.
    let short = Signed::new(&rows[..40], 7);
    let cut = short.export(who, 0);
    assert!(check(&cut, &key).is_ok());
    assert!(check(&cut, &held(&every[44..])).unwrap_err().1.contains("ends at 40"));
    // Of another log altogether.
    let foreign = Signer::new("comity/00", &[7; 32]).unwrap().sign(3, [0; 32]);
    assert!(check(&text, &held(&[foreign])).is_err());
}

#[test]
fn t40_the_database_is_compared_with_its_own_checkpoints() {
    let rows = long_story().rows;
    let signed = Signed::new(&rows, 7);
    let key = signed.signer.verifier();
    let found = |shelf: &Shelf, key| verify(&Reader::new(&shelf.path), key).unwrap().first_bad;
    assert_eq!(verify(&Reader::new(&signed.shelf.path), Some(key)).unwrap().checkpoints, 5);
    assert_eq!(found(&signed.shelf, Some(key)), None);
    let other = Signer::new(key.name(), &[8; 32]).unwrap();
    assert_eq!(found(&signed.shelf, Some(other.verifier())).unwrap().seq, 1);
    // Rows put in place of others, head and edge with them: no leaf is wrong, the signature is.
    let fork = Signed::new(&forked(&rows), 7);
    let raw = fork.shelf.raw();
    raw.execute_batch(&format!(
        "ATTACH '{}' AS other; DELETE FROM checkpoint; INSERT INTO checkpoint SELECT * FROM other.checkpoint",
        signed.shelf.path.display()
    ))
    .unwrap();
    let bad = found(&fork.shelf, None).unwrap();
    assert!(bad.seq > 30 && bad.what.contains("of another tree"), "{bad:?}");
    let copy = |sql: &str| {
        let shelf = signed.shelf.copy();
        assert!(shelf.raw().execute(sql, []).unwrap() > 0, "{sql}");
        found(&shelf, Some(key)).unwrap_or_else(|| panic!("not found: {sql}"))
    };
    for sql in [
        "UPDATE checkpoint SET size = size + 1 WHERE size = 10",
        "UPDATE checkpoint SET size = 5000 WHERE size = 10",
        "UPDATE checkpoint SET note = replace(note, '10', '11') WHERE size = 10",
        "UPDATE checkpoint SET note = note || 'x' WHERE size = 10",
        "UPDATE checkpoint SET edge = zeroblob(72) WHERE size = 10",
        "UPDATE checkpoint SET edge = x'00' WHERE size = 10",
    ] {
        copy(sql);
    }
}

/// One random change of an export; whoever `understands` it makes the last line fit again.
fn tampered(all: &[String], chance: &mut Chance, understands: bool) -> String {
    let mut lines = all.to_vec();
    let inner = lines.len() - 2;
    let (at, other) = (1 + chance.below(inner), 1 + chance.below(inner));
    match chance.below(if understands { 8 } else { 9 }) {
        0 => drop(lines.remove(at)),
        1 => lines.swap(at, other),
        2 => lines.insert(at, all[other].clone()),
        3 => lines[at] = all[other].clone(),
        8 => {
            let mut text = all.concat().into_bytes();
            match chance.below(3) {
                0 => text.truncate(chance.below(text.len())),
                1 => drop(text.remove(chance.below(text.len()))),
                _ => {
                    let at = chance.below(text.len());
                    text[at] ^= u8::try_from(1 + chance.below(255)).unwrap();
                }
            }
            return String::from_utf8_lossy(&text).into_owned();
        }
        what => {
            let mut bytes = lines[at].clone().into_bytes();
            let place = chance.below(bytes.len() - 1);
            match what {
                4 => drop(bytes.remove(place)),
                5 => bytes.insert(place, b"0a \"\\,"[chance.below(6)]),
                // A digit for a digit keeps the line well spelt: only a hash can tell.
                6 => {
                    let digits: Vec<usize> =
                        (0..bytes.len()).filter(|n| bytes[*n].is_ascii_hexdigit()).collect();
                    let place = digits[chance.below(digits.len())];
                    bytes[place] = b"0123456789abcdef"[chance.below(16)];
                }
                _ => bytes[place] ^= u8::try_from(1 + chance.below(127)).unwrap(),
            }
            lines[at] = String::from_utf8_lossy(&bytes).into_owned();
        }
    }
    if understands { resealed(&lines) } else { lines.concat() }
}

/// With the 1,200 changes of databases in `tamper.rs`: 10,000 and more.
#[test]
fn t40_nine_thousand_random_changes_of_exports_are_each_found() {
    let rows = long_story().rows;
    let signed = Signed::new(&rows[..32], 7);
    let texts: Vec<Vec<String>> = both(&rows)
        .into_iter()
        .flat_map(|who| [0, 20].map(|since| lines(&signed.export(who, since))))
        .collect();
    let mut chance = Chance(4);
    let (mut rounds, mut wise, mut kinds) = (0, 0, BTreeSet::new());
    while rounds < 9_000 {
        let all = &texts[chance.below(texts.len())];
        let understands = chance.below(3) > 0;
        let text = tampered(all, &mut chance, understands);
        if text == all.concat() {
            continue; // nothing was changed
        }
        match alone(&text) {
            Ok(said) => panic!("round {rounds} ({understands}) was not found: {said:?}\n{text}"),
            Err((_, what)) => {
                kinds.insert(
                    what.chars().filter(|c| !c.is_ascii_digit()).take(40).collect::<String>(),
                );
            }
        }
        rounds += 1;
        wise += u32::from(understands);
    }
    assert!(wise > 5_000 && kinds.len() > 15, "{wise} {kinds:?}");
    let whole: Hash = alone(&texts[0].concat()).unwrap().root.0;
    assert_eq!(Some(whole), signed.tree.root(32));
}
