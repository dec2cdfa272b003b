//! Signing where the log stands: when, what, and what is never signed (T40, T50).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use comity_app::Failure;
use comity_app::app::{App, Settings, StartError, database};
use comity_app::checkpoints::{CheckpointError, Places, last_outside, verifier};
use comity_app::clock::Clock;
use comity_app::guard;
use comity_domain::application::KeyUse;
use comity_domain::command::{Caller, Door, Principal};
use comity_store::{Store, verify};

use crate::engine;
use crate::site::{place, reader, settings};

fn start(folder: &Path) -> Arc<App> {
    try_start(folder).unwrap()
}

/// As the binary does: not on an async thread.
fn try_start(folder: &Path) -> Result<Arc<App>, StartError> {
    let start = |settings: &Settings| App::start(settings, Arc::new(Clock::system()));
    tokio::task::block_in_place(|| start(&settings(folder)))
}

fn places(folder: &Path) -> Places {
    settings(folder).checkpoints
}

async fn keys(app: &App, count: usize) {
    for _ in 0..count {
        let first = app.state().keys.iter().next().map(|(id, _)| id);
        let caller = first.map_or(Caller::system(), |id| Caller {
            principal: Principal::Key(id),
            door: Door::Api,
        });
        app.make_key(&caller, KeyUse::Operate, None).await.unwrap();
    }
}

/// The sizes of the kept checkpoints.
fn kept(folder: &Path) -> Vec<u64> {
    let read = || reader(folder).checkpoints(0, 1_000).unwrap();
    tokio::task::block_in_place(read).iter().map(|kept| kept.size).collect()
}

fn outside(folder: &Path) -> Option<u64> {
    last_outside(&places(folder).outside).unwrap().map(|(size, _)| size)
}

/// Waits until that many rows are signed.
async fn signed(folder: &Path, size: u64) {
    for _ in 0..400 {
        if kept(folder).last().is_some_and(|last| *last >= size) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{size} rows were not signed within 10 s: {:?}", kept(folder));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_signs_what_is_not_signed_and_nothing_moved_signs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let app = start(folder.path());
    assert!(app.checkpoints().key_file_made && app.checkpoints().verifier().is_none());
    app.stop();
    drop(app);
    assert_eq!((kept(folder.path()), outside(folder.path())), (vec![], None), "an empty log");

    let app = start(folder.path());
    assert!(!app.checkpoints().key_file_made);
    keys(&app, 1).await;
    signed(folder.path(), 1).await; // the first row does not wait a minute
    keys(&app, 6).await;
    app.stop();
    drop(app);
    assert_eq!((kept(folder.path()), outside(folder.path())), (vec![1, 7], Some(7)));
    let app = start(folder.path());
    let key = app.checkpoints().verifier().unwrap().clone();
    app.stop();
    drop(app);
    assert_eq!(kept(folder.path()), [1, 7], "nothing moved");

    let verdict = tokio::task::block_in_place(|| {
        let reader = reader(folder.path());
        assert_eq!(key, verifier(&reader, &places(folder.path()).key_file, false).unwrap());
        verify(&reader, Some(&key)).unwrap()
    });
    assert_eq!((verdict.checkpoints, verdict.first_bad), (2, None));
    let (size, root) = last_outside(&places(folder.path()).outside).unwrap().unwrap();
    assert_eq!((size, root), (7, verdict.root.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_rows_do_not_wait_for_the_minute() {
    let folder = tempfile::tempdir().unwrap();
    let app = start(folder.path());
    keys(&app, 1).await;
    signed(folder.path(), 1).await;
    keys(&app, 200).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(kept(folder.path()), [1], "200 rows wait");
    keys(&app, 800).await;
    signed(folder.path(), 1_001).await;
    app.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn t54_the_checkpoint_key_is_private_and_a_lost_one_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let app = start(folder.path());
    keys(&app, 1).await;
    app.stop();
    drop(app);
    let key = places(folder.path()).key_file;
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = || match try_start(folder.path()) {
        Err(StartError::Checkpoints(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused(), CheckpointError::Key(_)));
    fs::remove_file(&key).unwrap();
    assert!(matches!(refused(), CheckpointError::KeyMissing(_)));
    // A new key goes on from what the old one signed.
    tokio::task::block_in_place(|| {
        verifier(&reader(folder.path()), &key, true).unwrap();
        assert!(verifier(&reader(folder.path()), &key, true).is_err(), "there is one");
    });
    let app = start(folder.path());
    keys(&app, 1).await;
    app.stop();
    assert_eq!(kept(folder.path()), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn t50_an_older_database_is_not_signed_over_what_is_known_outside() {
    let folder = tempfile::tempdir().unwrap();
    let data = settings(folder.path()).data;
    let app = start(folder.path());
    keys(&app, 3).await;
    app.stop();
    drop(app);
    let copied = tempfile::tempdir().unwrap();
    if engine::on_postgres() {
        engine::copy_database(folder.path(), copied.path());
    } else {
        drop(Store::at(&place(folder.path())).unwrap()); // the WAL goes into the file
        fs::copy(data.join("comity.db"), copied.path().join("comity.db")).unwrap();
    }
    let app = start(folder.path());
    keys(&app, 3).await;
    app.stop();
    drop(app);
    assert_eq!(outside(folder.path()), Some(6));
    // The older one is put back, and lives on to more rows than were ever signed.
    for beside in ["comity.db-wal", "comity.db-shm"] {
        let _ = fs::remove_file(data.join(beside));
    }
    if engine::on_postgres() {
        fs::rename(copied.path().join("database-url"), folder.path().join("database-url")).unwrap();
    } else {
        fs::rename(copied.path().join("comity.db"), data.join("comity.db")).unwrap();
    }
    // The restore guard lets nothing be written there, and so nothing is signed.
    for _ in 0..2 {
        let app = start(folder.path());
        assert!(app.breach().is_some());
        guarded(&app).await;
        app.stop();
        drop(app);
        assert_eq!((kept(folder.path()).last(), outside(folder.path())), (Some(&3), Some(6)));
    }
}

/// The advice is to keep the file on another disk: then that is the one that counts.
#[tokio::test(flavor = "multi_thread")]
async fn inv32_t50_the_guard_looks_at_the_file_that_the_settings_name() {
    if engine::only_on_files("it puts an older file back") {
        return;
    }
    let (folder, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let outside = disk.path().join("seen");
    let inside = settings(folder.path());
    let (data, key_file) = (inside.data.clone(), inside.checkpoints.key_file.clone());
    let named = Settings { checkpoints: Places { key_file, outside: outside.clone() }, ..inside };
    let try_open = || App::start(&named, Arc::new(Clock::system()));
    let open = || tokio::task::block_in_place(try_open).unwrap();
    let app = open();
    keys(&app, 3).await;
    app.stop();
    drop(app);
    drop(Store::at(&place(folder.path())).unwrap()); // the WAL goes into the file
    let old = fs::read(database(&data)).unwrap();
    let app = open();
    assert!(app.breach().is_none());
    keys(&app, 3).await;
    app.stop();
    drop(app);
    assert_eq!(last_outside(&outside).unwrap().unwrap().0, 6);
    fs::write(database(&data), old).unwrap();
    let app = open();
    assert!(app.breach().is_some(), "an older database was put back");
    guarded(&app).await;
    app.stop();
    drop(app);
    // Where the file is set aside, what it saw is kept and closes nothing any more.
    let kept = guard::put_aside(&outside, 2).unwrap().unwrap();
    assert!(kept.exists() && !outside.exists());
    assert!(open().breach().is_none());
    fs::write(&outside, "x".repeat(5_000)).unwrap();
    assert!(tokio::task::block_in_place(try_open).is_err(), "what is no checkpoint");
}

/// No command is taken.
async fn guarded(app: &App) {
    let key = app.make_key(&Caller::system(), KeyUse::Operate, None).await;
    assert!(matches!(key, Err(Failure::Guarded)), "{key:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn t40_a_log_that_was_changed_behind_the_last_checkpoint_is_not_signed() {
    let folder = tempfile::tempdir().unwrap();
    let app = start(folder.path());
    keys(&app, 5).await;
    app.stop();
    drop(app);
    let other = tempfile::tempdir().unwrap();
    // The same checkpoints beside another log of as many rows, signed by the same key.
    let app = start(other.path());
    keys(&app, 5).await;
    app.stop();
    drop(app);
    let (here, there) = (places(folder.path()), places(other.path()));
    fs::copy(&there.outside, &here.outside).unwrap();
    let app = start(folder.path());
    assert!(app.breach().is_some());
    guarded(&app).await;
    app.stop();
    drop(app);
    assert!(kept(folder.path()).last() == Some(&5), "another tree is known outside");
    let verdict = tokio::task::block_in_place(|| verify(&reader(folder.path()), None).unwrap());
    assert_eq!(verdict.first_bad, None);
}
