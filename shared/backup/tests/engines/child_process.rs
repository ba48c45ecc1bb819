//! The programs that this process has started, as the system sees them. Others may run the same.

use std::fs;

/// The first for which `is_wanted` says so, as the number of its process.
pub(crate) fn child_process(is_wanted: impl Fn(i32) -> Option<bool>) -> Option<i32> {
    fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let process = entry.file_name().to_str()?.parse().ok()?;
        (is_child(process)? && is_wanted(process)?).then_some(process)
    })
}

fn is_child(process: i32) -> Option<bool> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the name, which may have anything in it: the state, and the parent.
    let parent: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
    Some(parent == std::process::id())
}

/// The arguments of a process, its program the first of them.
pub(crate) fn arguments(process: i32) -> Option<Vec<Vec<u8>>> {
    let arguments = fs::read(format!("/proc/{process}/cmdline")).ok()?;
    Some(arguments.split(|byte| *byte == 0).map(<[u8]>::to_owned).collect())
}
