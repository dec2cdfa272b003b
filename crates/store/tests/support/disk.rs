//! A disk that fails when a test says so, for a process of its own.
//!
//! `interposer.c` is compiled once a test process and loaded before libc into the child that
//! [`Disk::put_under`] prepares; [`Disk::fails`] and [`Disk::works`] switch it while the child runs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const SOURCE: &str = include_str!("interposer.c");

/// What fails.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// `fsync` and `fdatasync` say EIO.
    Sync,
    /// Writes say ENOSPC once so many bytes have gone through.
    FullAfter(u64),
}

/// The switch of one child's disk.
#[derive(Debug)]
pub struct Disk {
    control: PathBuf,
}

impl Disk {
    /// A disk that works, with its switch in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self { control: folder.join("disk-faults") }
    }

    /// Puts a child that is not yet running on this disk.
    pub fn put_under(&self, child: &mut Command) {
        child.env("LD_PRELOAD", library()).env("FAULTS_FILE", &self.control);
    }

    /// From now on this fails on files whose path holds `part`.
    pub fn fails(&self, fault: Fault, part: &str) {
        let line = match fault {
            Fault::Sync => format!("sync {part}\n"),
            Fault::FullAfter(bytes) => format!("write {part} {bytes}\n"),
        };
        // In one step: the child never reads half a line.
        let beside = self.control.with_extension("new");
        std::fs::write(&beside, line).unwrap();
        std::fs::rename(beside, &self.control).unwrap();
    }

    /// From now on nothing fails.
    pub fn works(&self) {
        let _ = std::fs::remove_file(&self.control);
    }

    /// How many calls have failed so far.
    pub fn hits(&self) -> u64 {
        let hits = format!("{}.hits", self.control.display());
        std::fs::metadata(hits).map_or(0, |file| file.len())
    }
}

fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let own = tempfile::tempdir_in(folder).unwrap();
        let source = own.path().join("interposer.c");
        let (made, library) = (own.path().join("made.so"), folder.join("interposer.so"));
        std::fs::write(&source, SOURCE).unwrap();
        let done = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wno-unused-result", "-o"])
            .args([&made, &source])
            .arg("-ldl")
            .output()
            .unwrap();
        assert!(done.status.success(), "cc: {}", String::from_utf8_lossy(&done.stderr));
        std::fs::rename(made, &library).unwrap();
        library.canonicalize().unwrap()
    })
}
