//! What this process has needed, as the kernel counts it.

/// The most memory this process has held at once, in bytes; none where the kernel does not say.
/// (`VmHWM` of `/proc/self/status`, proc(5); it is given in KiB.)
pub fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_grows_with_what_is_held() {
        let before = peak_bytes().unwrap();
        let held = vec![1_u8; 64 << 20];
        assert!(held.iter().step_by(4096).all(|byte| *byte == 1));
        assert!(peak_bytes().unwrap() >= before.max(64 << 20));
    }
}
