//! What a record keeps of what was found and done: an item of the table has at most 400 KB, and mappings may name many files.

use holdfast_domain::restore::{Preflight, Refusal, Restored};

/// Bytes of text that the preflights of a restore have together.
const BYTES: usize = 100_000;

/// Most lines of each kind, and the longest line, in characters.
const LINES: usize = 50;
const LINE: usize = 1000;

/// Bytes of text that the notes about what was restored have together.
const NOTES: usize = 20_000;

/// Most refusals that a failure says itself, and its most bytes.
pub(super) const REFUSALS: usize = 10;
const MESSAGE: usize = 8_000;

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

/// As many of the notes about one of `services` as have room beside those of the others.
pub(super) fn restored(mut done: Restored, services: usize) -> Restored {
    let mut room = NOTES / services.max(1);
    let all = done.notes.len();
    done.notes.truncate(LINES);
    done.notes.retain_mut(|note| {
        shorten(note);
        let has_room = room >= note.len();
        room = room.saturating_sub(note.len());
        has_room
    });
    let left_out = all - done.notes.len();
    if left_out > 0 {
        done.notes.push(format!("{left_out} more notes are left out."));
    }
    done
}

/// As much of a failure's words as a record has room for.
pub(super) fn message(mut text: String) -> String {
    cut(&mut text, MESSAGE);
    text
}

/// What comes first, and as much of it as leaves all of `end` its room.
pub(super) fn message_with(start: &str, end: &str) -> String {
    let mut start = start.to_owned();
    // The sign that there was more, and what stands between the two.
    cut(&mut start, MESSAGE.saturating_sub(end.len() + "…. ".len()));
    message(format!("{start}. {end}"))
}

fn shorten(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(LINE) {
        text.truncate(end);
        text.push('…');
    }
}

/// Leaves at most `bytes` of a text, and a sign that there was more.
fn cut(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes));
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
    fn the_notes_about_many_services_fit_into_one_item() {
        let done = |notes| Restored {
            tables: None,
            rows: None,
            rows_compared: false,
            values_compared: None,
            changes: None,
            files_compared: None,
            notes,
        };
        assert_eq!(restored(done(vec!["short".to_owned()]), 20), done(vec!["short".to_owned()]));
        for services in [1, 20] {
            let kept = restored(done(vec!["é".repeat(5000); 1000]), services);
            let bytes: usize = kept.notes.iter().map(String::len).sum();
            assert!(bytes * services < 25_000, "{bytes}");
            assert!(
                kept.notes.last().unwrap().ends_with("more notes are left out."),
                "{:?}",
                kept.notes.last()
            );
        }
    }

    #[test]
    fn a_failure_keeps_its_end() {
        assert_eq!(message_with("It broke", "Nothing was changed"), "It broke. Nothing was changed");
        let kept = message_with(&"é".repeat(50_000), "Nothing was changed");
        assert!(kept.len() <= MESSAGE && kept.ends_with("…. Nothing was changed"), "{}", kept.len());
    }

    #[test]
    fn a_refusal_stays_however_little_room_there_is() {
        assert_eq!(preflight(found(3, 1000), 1000).refusals.len(), 1);
    }
}
