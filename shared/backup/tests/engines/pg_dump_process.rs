//! The `pg_dump` that works on a database, as the system sees it.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::child_process::child_process;

/// A running `pg_dump`, a child of this process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PgDumpProcess(i32);

impl PgDumpProcess {
    /// The one that dumps `database`.
    pub(crate) fn of(database: &str) -> Option<Self> {
        let wanted = format!("PGDATABASE={database}");
        let found = child_process(|pid| {
            let process = Self(pid);
            let is_wanted = process.read("comm")? == b"pg_dump\n"
                && process.read("environ")?.split(|byte| *byte == 0).any(|line| line == wanted.as_bytes());
            Some(is_wanted)
        });
        found.map(Self)
    }

    /// A file of `/proc` about it.
    pub(crate) fn read(self, file: &str) -> Option<Vec<u8>> {
        fs::read(format!("/proc/{}/{file}", self.0)).ok()
    }

    pub(crate) fn kill(self) {
        kill_process(Pid::from_raw(self.0).unwrap(), Signal::KILL).unwrap();
    }

    /// Panics unless it has ended and was waited for.
    pub(crate) fn assert_gone(self) {
        let started = Instant::now();
        while self.read("stat").is_some() {
            assert!(started.elapsed() < Duration::from_secs(2), "pg_dump {} is left", self.0);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The most memory it has had, in KiB.
    pub(crate) fn peak_kib(self) -> Option<u64> {
        peak_kib(&String::from_utf8(self.read("status")?).ok()?)
    }
}

/// `VmHWM` of a `/proc/PID/status`, in KiB.
pub(crate) fn peak_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}
