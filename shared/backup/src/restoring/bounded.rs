//! What a record keeps of a preflight: an item of the table has at most 400 KB, and mappings may name many files.

use holdfast_domain::restore::{Preflight, Refusal};

/// Bytes of text that the preflights of a restore have together.
const BYTES: usize = 100_000;

/// Most lines of each kind, and the longest line, in characters.
const LINES: usize = 50;
const LINE: usize = 1000;

/// As much of a preflight as has room beside those of `services` in all; what is in the way before what is good to know.
pub(super) fn preflight(mut found: Preflight, services: usize) -> Preflight {
    let mut room = BYTES / services.max(1);
    let mut fits = |texts: &mut [&mut String]| {
        for text in texts.iter_mut() {
            shorten(text);
        }
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        let has_room = room >= bytes;
        room = room.saturating_sub(bytes);
        has_room
    };
    let mut first = true;
    found.refusals.truncate(LINES);
    found.refusals.retain_mut(|Refusal { what, fix, .. }| {
        // One is kept in any case: without any, nothing would be in the way.
        fits(&mut [what, fix]) | std::mem::take(&mut first)
    });
    for lines in [&mut found.notes, &mut found.steps] {
        lines.truncate(LINES);
        lines.retain_mut(|line| fits(&mut [line]));
    }
    found
}

fn shorten(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(LINE) {
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(lines: usize, length: usize) -> Preflight {
        let line = "é".repeat(length);
        Preflight {
            service: "DEFAULT".parse().unwrap(),
            target: String::new(),
            is_occupied: true,
            steps: vec![line.clone(); lines],
            notes: vec![line.clone(); lines],
            refusals: vec![Refusal::new("code", line.clone(), line); lines],
            bytes: 0,
            estimated_seconds: 0,
            changes: None,
        }
    }

    #[test]
    fn what_is_short_is_kept_as_it_is() {
        assert_eq!(preflight(found(10, 100), 3), found(10, 100));
    }

    #[test]
    fn the_preflights_of_many_services_fit_into_one_item() {
        for services in [1, 20] {
            let kept = preflight(found(1000, 5000), services);
            let bytes = serde_json::to_string(&kept).unwrap().len() * services;
            assert!(bytes < 200_000, "{bytes}");
            assert!(!kept.refusals.is_empty());
            assert!(kept.refusals[0].what.ends_with('…'));
        }
    }

    #[test]
    fn a_refusal_stays_however_little_room_there_is() {
        assert_eq!(preflight(found(3, 1000), 1000).refusals.len(), 1);
    }
}
